"""What the module's own code takes of time and of memory, without Synapse."""

from __future__ import annotations

import gc
import itertools
import random
import time
import tracemalloc
from itertools import count
from pathlib import Path
from timeit import Timer, timeit
from typing import Any, Callable, Iterable

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import NoOlm
from synapse_withheld.wrappers import to_local
from tests.bench.inbox import Inbox
from tests.bench.report import show
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_message,
    make_olm_lookalike,
)
from tests.harness.rules import EVERY_RULE

PAIRS = 200_000  # in the memory
LARGE = 1_000  # messages in a batch
# A client tells up to so many devices with one request.
DEVICES_OF_REQUEST = 250
ASKED_ABOUT = 500

_CODE = (
    "So many pairs are remembered, so many messages in a batch. In-process, without "
    "Synapse, every rule on, less the time of the call that stores nothing; best of {} "
    "repeats. Each Olm message re-arms a pair. Wanted: at most 3."
)
_MEMORY = (
    "Rows at the limit, but for the first line: each new one pushes out another. Told: "
    "how many devices each sender told; who told one shares nothing, as only servers "
    "do that make senders up. Bytes: all that is kept, as `tracemalloc` "
    f"counts. Microseconds: the mean of {ASKED_ABOUT} rows drawn from all, the best of "
    f"{{}} repeats. Wanted: at most 500 bytes where {DEVICES_OF_REQUEST} were told; to "
    "store, twice the time of the first line."
)
_STREAM_IDS = count(1)


async def measure(_: Path, quick: bool) -> None:
    rows, repeats = [], 100 if quick else 600
    for pairs in (0, PAIRS):
        inbox = Inbox(Config(rules=EVERY_RULE))
        _fill(inbox.traffic.inbox.memory, _rows(pairs, pairs // LARGE, told=LARGE))
        for kind, size in itertools.product((PLAIN, ENCRYPTED), (LARGE, 1)):
            us = _added_us(inbox, _batch(kind, size), repeats) / size
            rows.append({"type": kind, "pairs": pairs, "batch": size, "µs each": us})
        inbox.come_to_rest()
        assert inbox.statements == 0
    show("The module's own code for a message", rows, _CODE.format(repeats))


def _batch(kind: str, size: int) -> LocalMessages:
    notice = _notice(0)
    content = make_olm_lookalike(notice.key) if kind == ENCRYPTED else {}
    message = make_message(notice.pair.sender, content, kind)
    mailboxes = (_mailbox(number) for number in range(size))
    return {user_id: {device_id: message} for user_id, device_id in mailboxes}


def _added_us(inbox: Inbox, batch: LocalMessages, repeats: int) -> float:
    """Return the microseconds that our code adds to storing a batch."""

    async def write(_: LocalMessages, __: Edus | None = None) -> int:
        return 1

    wrapped: Callable[[LocalMessages], Any] = to_local(inbox.traffic, lambda: 0, write)
    steps = (lambda: driven(write(batch)), lambda: driven(wrapped(batch)))
    # Of this thread alone: others run on this machine too.
    timers = [Timer(step, timer=time.thread_time) for step in steps]
    # In turns, so that a change of the clock's rate meets both.
    times = [[timer.timeit(1) for timer in timers] for _ in range(repeats)]
    alone, whole = (float(min(each)) for each in zip(*times))
    return 1e6 * (whole - alone)


async def measure_memory(_: Path, quick: bool) -> None:
    pairs, repeats = (10_000, 3) if quick else (PAIRS, 60)
    limits, lines = Limits(pairs), []
    states = [
        (10, 10, 1),
        (limits.mailboxes, 1, 1),
        (pairs, 10, 1),
        (pairs, 10, DEVICES_OF_REQUEST),
        (limits.of_mailbox, limits.of_mailbox, 1),
    ]
    for state in states:
        rows = _rows(*state)
        tracemalloc.start()
        memory = Memory(limits, sees_reads=False, hold_s=None)
        _fill(memory, rows)
        gc.collect()
        weight = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        line: dict[str, object] = dict(zip(("rows", "in each mailbox", "told"), state))
        line |= {"bytes per row": weight // len(rows), "MB": weight / 1e6}
        for name, call in _CALLS.items():
            line[name] = min(_us(memory, rows, call) for _ in range(repeats))
        lines.append(line)
    show("What the memory takes", lines, _MEMORY.format(repeats))


# A mailbox, and its sender.
Row = tuple[int, int]


def _rows(rows: int, depth: int, told: int) -> list[Row]:
    """Return so many rows, so many of them in each mailbox.

    Each sender told so many devices, and shares nothing with the others.
    """
    return [
        (which // depth, which % depth + which // depth // told * depth)
        for which in range(rows)
    ]


def _fill(memory: Memory, rows: Iterable[Row]) -> None:
    notices: dict[int, Notice] = {}
    for mailbox, sender in rows:
        if sender not in notices:
            notices[sender] = _notice(sender)
        # Nothing is shared that would not be in a running Synapse.
        key = _mailbox(mailbox)
        memory.open(key, 0).learned = True
        _store(memory, key, notices[sender])


def _mailbox(number: int) -> MailboxKey:
    return (f"@recipient{number}:withheld.test", f"DEV{number:07}")


def _notice(sender: int) -> Notice:
    pair = Pair(f"@sender{sender}:withheld.test", f"device:DEVICE{sender:04}", WITHHELD)
    return Notice(NoOlm(), pair, f"{sender:043}", "whole")


def _store(memory: Memory, key: MailboxKey, notice: Notice) -> None:
    memory.open(key, 0)
    stored = memory.begin(key, notice, notice.pair.sender, 0, 0.0)
    memory.settle(stored, next(_STREAM_IDS))


def _store_new(memory: Memory, key: MailboxKey, _: Notice) -> None:
    _store(memory, key, _notice(10**9 + next(_STREAM_IDS)))


Call = Callable[[Memory, MailboxKey, Notice], object]
_CALLS: dict[str, Call] = {
    "believe": lambda memory, key, notice: memory.believe(key, notice, 0.0),
    "rearm_device": lambda memory, key, notice: memory.rearm_device(
        key, notice.pair.sender, notice.key
    ),
    "rearm_users": lambda memory, key, notice: memory.rearm_users(
        key[0], notice.pair.sender
    ),
    "begin and settle": _store,
    "the same, of a new sender": _store_new,
}


def _us(memory: Memory, rows: list[Row], call: Call) -> float:
    chance = random.Random(len(rows))  # noqa: S311 nothing here is secret
    drawn = chance.choices(rows, k=ASKED_ABOUT)
    some = [(_mailbox(mailbox), _notice(sender)) for mailbox, sender in drawn]

    def ask() -> None:
        for key, notice in some:
            call(memory, key, notice)

    return 1e6 * timeit(ask, number=1) / len(some)

"""What the module's own code takes of time and of memory, without Synapse."""

from __future__ import annotations

import gc
import itertools
import random
import time
import tracemalloc
from itertools import count
from pathlib import Path
from timeit import Timer
from typing import Any, Callable, Dict

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.wrappers import to_local
from tests.bench.instruments.inbox import Inbox
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_message,
    make_olm_lookalike,
)
from tests.harness.rules import EVERY_RULE

# Messages in a batch; and in microseconds, how long each may take.
LARGE, MOST_US = 1_000, {PLAIN: 2.0, ENCRYPTED: 3.0}

# A client tells up to so many devices with one request.
DEVICES_OF_REQUEST = 250

TYPICAL = 10  # rows in a mailbox
MOST_BYTES = 500

# How much slower a call may be where more is remembered.
MOST_SLOWER = 2.0
ASKED_ABOUT = 500

_CODE = (
    "In-process, without Synapse, every rule on, less the time of the call that "
    "stores nothing; best of {} repeats. Each Olm message re-arms a pair."
)
_WEIGHED = (
    "`tracemalloc` counts them: objects, identifiers, all that is kept. One request: "
    f"each sender told {DEVICES_OF_REQUEST} devices; others: each row has a sender, a "
    "device and a key of its own, which no server but one that makes them up has."
)
_TIMED = (
    f"Microseconds: the mean of {ASKED_ABOUT} rows drawn from all, the best of "
    "{} repeats. `full`: at the limit, so that each new one pushes out another."
)

_STREAM_IDS = count(1)


async def measure(_: Path, sizes: Sizes) -> Findings:
    rows, targets = [], []
    for pairs in (0, sizes.pairs):
        inbox = Inbox(Config(rules=EVERY_RULE))
        fill(inbox.traffic.inbox.memory, pairs, pairs // LARGE, told=LARGE)
        for kind, size in itertools.product(MOST_US, (LARGE, 1)):
            us = _added_us(inbox, _batch(kind, size), sizes.repeats) / size
            rows.append((kind, f"{pairs:,}", f"{size:,}", f"{us:.3f}"))
            name = f"own code, µs per {kind}, batch of {size:,}, {pairs:,} pairs"
            targets.append(Target.most(name, us, MOST_US[kind]))
        inbox.come_to_rest()
        name = f"statements for ordinary messages, pairs remembered: {pairs:,}"
        targets.append(Target.most(name, inbox.statements, 0, binding=True))
    title = "The module's own code, microseconds per ordinary message"
    header = ("type", "pairs remembered", "messages in batch", "microseconds each")
    return [Table(title, header, rows, _CODE.format(sizes.repeats)), *targets]


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
    times = [[timer.timeit(1) for timer in timers] for _ in range(10 * repeats)]
    alone, whole = (float(min(each)) for each in zip(*times))
    return 1e6 * (whole - alone)


async def measure_memory(_: Path, sizes: Sizes) -> Findings:
    return [*_weights(Limits(sizes.pairs)), *_times(sizes)]


def _weights(limits: Limits) -> Findings:
    rows, typical = [], 0.0
    for depth in (1, TYPICAL, 1_000, limits.of_mailbox):
        # What is in one mailbox is bounded, and so are mailboxes.
        held = min(limits.max_pairs, depth * limits.mailboxes)
        held = depth if depth == limits.of_mailbox else held
        for name, told in (("one request", DEVICES_OF_REQUEST), ("others", 1)):
            weight = _weigh(limits, held, depth, told)
            if (depth, name) == (TYPICAL, "one request"):
                typical = weight / held
            cells = (f"{depth:,}", name, f"{held:,}", f"{weight / held:,.0f}")
            rows.append((*cells, f"{weight / 1e6:,.1f}"))
    header = ("rows in each mailbox", "senders", "in all", "bytes per row", "MB")
    name = f"bytes per remembered row, {TYPICAL} in each mailbox"
    return [
        Table("What the memory takes", header, rows, _WEIGHED),
        Target.most(name, typical, MOST_BYTES, binding=True),
    ]


def _weigh(limits: Limits, rows: int, depth: int, told: int) -> int:
    tracemalloc.start()
    try:
        memory = Memory(limits, sees_reads=False, hold_s=None)
        fill(memory, rows, depth, told)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def fill(memory: Memory, rows: int, depth: int, told: int) -> None:
    """Have so many rows remembered, so many of them in each mailbox.

    Each sender told so many devices, and shares nothing with the others.
    """
    notices: dict[int, Notice] = {}
    for which in range(rows):
        sender = which % depth + which // depth // told * depth
        if sender not in notices:
            notices[sender] = _notice(sender)
        # Nothing is shared that would not be in a running Synapse.
        key = _mailbox(which // depth)
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


STORES: Dict[str, Callable[[Memory, MailboxKey, Notice], object]] = {
    "begin and settle": _store,
    "the same, of a new sender": _store_new,
}
CALLS = {
    "believe": lambda memory, key, notice: memory.believe(key, notice, 0.0),
    "rearm_device": lambda memory, key, notice: memory.rearm_device(
        key, notice.pair.sender, notice.key
    ),
    "rearm_users": lambda memory, key, notice: memory.rearm_users(
        key[0], notice.pair.sender
    ),
    **STORES,
}


def _times(sizes: Sizes) -> Findings:
    most, roomy = sizes.pairs, Limits(10 * sizes.pairs)
    deep = Limits(most).of_mailbox
    states = {
        "few": (roomy, 10, 10),
        "many mailboxes": (roomy, most, TYPICAL),
        "one mailbox": (roomy, deep, deep),
        "full": (Limits(most), most, TYPICAL),
    }
    best: dict[str, dict[str, float]] = {}
    for name, (limits, rows, depth) in states.items():
        memory = Memory(limits, sees_reads=False, hold_s=None)
        fill(memory, rows, depth, told=1)
        best[name] = {
            call: min(_timed(memory, rows, depth, call) for _ in range(sizes.repeats))
            for call in CALLS
        }
    lines = [
        (name, f"{states[name][1]:,}", *(f"{took:.1f}" for took in us.values()))
        for name, us in best.items()
    ]
    few, *others = best.values()
    # What takes less than a microsecond is slower where the processor's cache ends.
    slower = max(us[name] / few[name] for us in others for name in STORES)
    title, header = "A call, with more and more remembered", ("remembered", "rows")
    return [
        Table(title, (*header, *CALLS), lines, _TIMED.format(sizes.repeats)),
        Target.most("slowest way to store, to that with few", slower, MOST_SLOWER),
    ]


def _timed(memory: Memory, rows: int, depth: int, name: str) -> float:
    chance = random.Random(rows)  # noqa: S311 nothing here is secret
    drawn = chance.choices(range(rows), k=ASKED_ABOUT)
    some = [(_mailbox(each // depth), _notice(each)) for each in drawn]
    call = CALLS[name]
    gc.disable()
    try:
        started = time.perf_counter()
        for key, notice in some:
            call(memory, key, notice)
        return (time.perf_counter() - started) / len(some) * 1e6
    finally:
        gc.enable()

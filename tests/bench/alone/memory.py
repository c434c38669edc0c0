"""What a remembered row takes in memory, and that more of them cost no time."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from itertools import count
from pathlib import Path
from typing import Callable

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.messages import WITHHELD

TYPICAL = 10
MOST_BYTES = 500

# A client tells up to so many devices with one request.
DEVICES_OF_REQUEST = 250

# How much slower a call may be where more is remembered.
MOST_SLOWER = 2.0
ASKED_ABOUT = 500

_WEIGHED = (
    "`tracemalloc` counts them: objects, identifiers, all that is kept. One request: "
    f"each sender told {DEVICES_OF_REQUEST} devices; others: each row has a sender, a "
    "device and a key of its own, which no server but one that makes them up has."
)
_TIMED = (
    f"Microseconds: the mean of {ASKED_ABOUT} rows drawn from all, the best of "
    "{repeats} repeats. `full`: at the limit, so that each new one pushes out another."
)

# Makes the notice that is stored as row so and so, so many of them in each mailbox.
Make = Callable[[int, int], Notice]


_STREAM_IDS = count(1)


def _store(memory: Memory, key: MailboxKey, notice: Notice) -> None:
    memory.open(key, 0)
    stored = memory.begin(key, notice, notice.pair.sender, 0, 0.0)
    memory.settle(stored, next(_STREAM_IDS))


def _store_new(memory: Memory, key: MailboxKey, _: Notice) -> None:
    _store(memory, key, of_its_own(10**9 + next(_STREAM_IDS), 1))


STORES: dict[str, Callable[[Memory, MailboxKey, Notice], object]] = {
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


async def measure(_: Path, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    """Weigh full memories and time calls, for mailboxes of different depth."""
    say("Weighing the memory.")
    return Findings.joined([_weights(Limits(sizes.pairs)), _times(sizes)])


def filled(limits: Limits, rows: int, depth: int, make: Make) -> Memory:
    """Return a memory with so many rows, and so many in each mailbox."""
    memory = Memory(limits, sees_reads=False, hold_s=None)
    for which in range(rows):
        # Nothing is shared that would not be in a running Synapse.
        key = _mailbox(which, depth)
        memory.open(key, 0).learned = True
        _store(memory, key, make(which, depth))
    return memory


def weigh(limits: Limits, rows: int, depth: int, make: Make) -> int:
    tracemalloc.start()
    try:
        memory = filled(limits, rows, depth, make)
        gc.collect()
        assert len(memory) > 0
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def of_its_own(which: int, _: int) -> Notice:
    """Make a notice that shares nothing with others."""
    pair = Pair(f"@sender{which}:withheld.test", f"device:DEVICE{which:04}", WITHHELD)
    return Notice(NoOlm(), pair, f"{which:043}", "whole")


def of_request() -> Make:
    """Return what makes notices of which one request tells many devices."""
    told: dict[int, Notice] = {}

    def make(which: int, depth: int) -> Notice:
        sender = which % depth + which // depth // DEVICES_OF_REQUEST * depth
        if sender not in told:
            told[sender] = of_its_own(sender, depth)
        return told[sender]

    return make


def _weights(limits: Limits) -> Findings:
    rows, typical = [], 0.0
    for depth in (1, TYPICAL, 1_000, limits.of_mailbox):
        # What is in one mailbox is bounded, and so are mailboxes.
        held = min(limits.max_pairs, depth * limits.mailboxes)
        held = depth if depth == limits.of_mailbox else held
        for name, make in (("one request", of_request()), ("others", of_its_own)):
            weight = weigh(limits, held, depth, make)
            each = weight / held
            if (depth, name) == (TYPICAL, "one request"):
                typical = each
            cells = (f"{depth:,}", name, f"{held:,}", f"{each:,.0f}")
            rows.append((*cells, f"{weight / 1e6:,.1f}"))
    header = ("rows in each mailbox", "senders", "in all", "bytes per row", "MB")
    name = f"bytes per remembered row, {TYPICAL} in each mailbox"
    return Findings(
        [Table("What the memory takes", header, rows, [_WEIGHED])],
        [Target.most(name, typical, MOST_BYTES, binding=True)],
    )


def _times(sizes: Sizes) -> Findings:
    most, roomy = sizes.pairs, Limits(10 * sizes.pairs)
    deep = Limits(most).of_mailbox
    states = {
        "few": (roomy, 10, 10),
        "many mailboxes": (roomy, most, TYPICAL),
        "one mailbox": (roomy, deep, deep),
        "full": (Limits(most), most, TYPICAL),
    }
    memories = {name: filled(*how, of_its_own) for name, how in states.items()}
    best = {name: dict.fromkeys(CALLS, float("inf")) for name in states}
    # In turns, so that a change of the clock's rate meets all of them.
    for _ in range(sizes.repeats):
        for name, memory in memories.items():
            _, rows, depth = states[name]
            for call, us in best[name].items():
                best[name][call] = min(us, _timed(memory, rows, depth, call))
    lines = [
        (name, f"{states[name][1]:,}", *(f"{took:.1f}" for took in us.values()))
        for name, us in best.items()
    ]
    few, *others = best.values()
    # What takes less than a microsecond is slower where the processor's cache ends.
    slower = max(us[name] / few[name] for us in others for name in STORES)
    title = "A call, with more and more remembered"
    notes = [_TIMED.format(repeats=sizes.repeats)]
    return Findings(
        [Table(title, ("what is remembered", "rows", *CALLS), lines, notes)],
        [Target.most("slowest way to store, to that with few", slower, MOST_SLOWER)],
    )


def _timed(memory: Memory, rows: int, depth: int, name: str) -> float:
    chance = random.Random(rows)  # noqa: S311 nothing here is secret
    drawn = chance.choices(range(rows), k=ASKED_ABOUT)
    some = [(_mailbox(each, depth), of_its_own(each, depth)) for each in drawn]
    call = CALLS[name]
    gc.disable()
    try:
        started = time.perf_counter()
        for key, notice in some:
            call(memory, key, notice)
        return (time.perf_counter() - started) / len(some) * 1e6
    finally:
        gc.enable()


def _mailbox(which: int, depth: int) -> MailboxKey:
    return (f"@recipient{which // depth}:withheld.test", f"DEV{which // depth:07}")

"""What a remembered row takes in memory, and that more of them cost no time."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from pathlib import Path
from typing import Callable, Sequence

import attrs

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD

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


@attrs.define(eq=False)
class Filled:
    """A memory with so many rows, and notices of rows that are drawn from all.

    Attributes:
        depth: Rows in each mailbox.
        others: How many senders were made up.
    """

    name: str
    rows: int
    depth: int
    memory: Memory
    others: int = 0

    @classmethod
    def to(cls, name: str, rows: int, depth: int, limits: Limits) -> Filled:
        memory = Memory(limits, sees_reads=False, hold_s=None)
        fill(memory, rows, depth, of_its_own)
        return cls(name, rows, depth, memory)

    def believe(self, key: MailboxKey, notice: Notice) -> None:
        self.memory.believe(key, notice, 0.0)

    def rearm_device(self, key: MailboxKey, notice: Notice) -> None:
        self.memory.rearm_device(key, notice.pair.sender, notice.key)

    def rearm_users(self, key: MailboxKey, notice: Notice) -> None:
        self.memory.rearm_users(key[0], notice.pair.sender)

    def store(self, key: MailboxKey, notice: Notice) -> None:
        self.others += 1
        self.memory.open(key, 0)
        store(self.memory, key, notice, self.rows + self.others)

    def store_new(self, key: MailboxKey, _: Notice) -> None:
        self.store(key, of_its_own(10 * self.rows + self.others, 1))


STORES: dict[str, Callable[[Filled, MailboxKey, Notice], None]] = {
    "begin and settle": Filled.store,
    "the same, of a new sender": Filled.store_new,
}
CALLS = {
    "believe": Filled.believe,
    "rearm_device": Filled.rearm_device,
    "rearm_users": Filled.rearm_users,
    **STORES,
}


async def measure(_: Path, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    """Weigh full memories and time calls, for mailboxes of different depth."""
    say("Weighing the memory.")
    return Findings.joined([_weights(Limits(sizes.pairs)), _times(sizes)])


def weigh(limits: Limits, rows: int, depth: int, make: Make) -> int:
    """Return how many bytes a memory takes."""
    memory = Memory(limits, sees_reads=False, hold_s=None)
    tracemalloc.start()
    try:
        fill(memory, rows, depth, make)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def fill(memory: Memory, rows: int, depth: int, make: Make) -> None:
    """Store so many rows, and so many in each mailbox."""
    for which in range(rows):
        # Nothing is shared that would not be in a running Synapse.
        key = _mailbox(which, depth)
        if which % depth == 0:
            memory.open(key, 0).learned = True
        store(memory, key, make(which, depth), which + 1)


def store(memory: Memory, key: MailboxKey, notice: Notice, stream_id: int) -> None:
    memory.settle(memory.begin(key, notice, notice.pair.sender, 0, 0.0), stream_id)


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
    some = [
        Filled.to("few", 10, 10, roomy),
        Filled.to("many mailboxes", most, TYPICAL, roomy),
        Filled.to("one mailbox", deep, deep, roomy),
        Filled.to("full", most, TYPICAL, Limits(most)),
        Filled.to("one full mailbox", deep, deep, Limits(10 * deep)),
    ]
    best = {each: dict.fromkeys(CALLS, float("inf")) for each in some}
    # In turns, so that a change of the clock's rate meets all of them.
    for _ in range(sizes.repeats):
        for each, us in best.items():
            for name in CALLS:
                us[name] = min(us[name], _timed(each, name))
    rows = [
        (each.name, f"{each.rows:,}", *(f"{took:.1f}" for took in us.values()))
        for each, us in best.items()
    ]
    few, *others = best.values()
    # What takes less than a microsecond is slower where the processor's cache ends.
    slower = max(us[name] / few[name] for us in others for name in STORES)
    title = "A call, with more and more remembered"
    notes = [_TIMED.format(repeats=sizes.repeats)]
    return Findings(
        [Table(title, ("what is remembered", "rows", *CALLS), rows, notes)],
        [Target.most("slowest way to store, to that with few", slower, MOST_SLOWER)],
    )


def _timed(filled: Filled, name: str) -> float:
    """Return how many microseconds a call takes."""
    chance = random.Random(filled.rows)  # noqa: S311 nothing here is secret
    drawn: Sequence[int] = chance.choices(range(filled.rows), k=ASKED_ABOUT)
    some = [
        (_mailbox(which, filled.depth), of_its_own(which, filled.depth))
        for which in drawn
    ]
    call = CALLS[name]
    gc.disable()
    try:
        started = time.perf_counter()
        for key, notice in some:
            call(filled, key, notice)
        return (time.perf_counter() - started) / len(some) * 1e6
    finally:
        gc.enable()


def _mailbox(which: int, depth: int) -> MailboxKey:
    return (f"@recipient{which // depth}:withheld.test", f"DEV{which // depth:07}")

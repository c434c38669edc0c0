"""What a remembered row takes in memory, and that more of them cost no time."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
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

# As many as the default allows, and as many as one mailbox may hold.
MOST = 200_000
LIMITS = Limits(MOST)

# Rows in each mailbox.
DEPTHS = (1, 10, 1_000, LIMITS.of_mailbox)
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
    """

    name: str
    rows: int
    depth: int
    memory: Memory
    drawn: Sequence[tuple[MailboxKey, Notice]]
    stream_id: int
    others: int = 0

    def call(self, name: str) -> float:
        """Return how many microseconds a call takes."""
        call = {
            "believe": self._believe,
            "begin and settle": self._store,
            "the same, of a new sender": self._store_new,
            "rearm_device": self._rearm_device,
            "rearm_users": self._rearm_users,
        }[name]
        gc.disable()
        try:
            started = time.perf_counter()
            for key, notice in self.drawn:
                call(key, notice)
            return (time.perf_counter() - started) / len(self.drawn) * 1e6
        finally:
            gc.enable()

    def _believe(self, key: MailboxKey, notice: Notice) -> None:
        self.memory.believe(key, notice, 0.0)

    def _store(self, key: MailboxKey, notice: Notice) -> None:
        self.stream_id += 1
        self.memory.open(key, 0)
        store(self.memory, key, notice, self.stream_id)

    def _store_new(self, key: MailboxKey, notice: Notice) -> None:
        del notice
        self.others += 1
        self._store(key, of_its_own(MOST + self.others, 1))

    def _rearm_device(self, key: MailboxKey, notice: Notice) -> None:
        self.memory.rearm_device(key, notice.pair.sender, notice.key)

    def _rearm_users(self, key: MailboxKey, notice: Notice) -> None:
        self.memory.rearm_users(key[0], notice.pair.sender)


STORES = ("begin and settle", "the same, of a new sender")
CALLS = ("believe", "rearm_device", "rearm_users", *STORES)


def measure(sizes: Sizes) -> Findings:
    """Weigh full memories and time calls, for mailboxes of different depth."""
    weights = {
        (depth, name): weigh(_rows(sizes, depth), depth, make)
        for depth in DEPTHS
        for name, make in (("one request", of_request()), ("others", of_its_own))
    }
    timings = _time(sizes)
    tables = [_table_of_weights(weights, sizes), _table_of_timings(timings, sizes)]
    return Findings(tables, _targets(weights, timings))


def weigh(rows: int, depth: int, make: Make) -> float:
    """Return how many bytes a memory takes for each of its rows."""
    memory = Memory(LIMITS, sees_reads=False, hold_s=None)
    tracemalloc.start()
    try:
        fill(memory, rows, depth, make)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / memory.pairs
    finally:
        tracemalloc.stop()


def filled(name: str, rows: int, depth: int, limits: Limits) -> Filled:
    """Return a memory with so much remembered."""
    memory = Memory(limits, sees_reads=False, hold_s=None)
    fill(memory, rows, depth, of_its_own)
    drawn = random.Random(rows)  # noqa: S311 nothing here is secret
    some = [drawn.randrange(rows) for _ in range(ASKED_ABOUT)]
    of = [(_mailbox(which, depth), of_its_own(which, depth)) for which in some]
    return Filled(name, rows, depth, memory, of, rows + 1)


def fill(memory: Memory, rows: int, depth: int, make: Make) -> None:
    """Store so many rows, and so many in each mailbox."""
    for which in range(rows):
        # Nothing is shared that would not be in a running Synapse.
        key = _mailbox(which, depth)
        if which % depth == 0:
            memory.open(key, 0).learned = True
        store(memory, key, make(which, depth), which + 1)


def store(memory: Memory, key: MailboxKey, notice: Notice, stream_id: int) -> None:
    """Store a notice."""
    memory.settle(memory.begin(key, notice, notice.pair.sender, 0, 0.0), stream_id)


def of_its_own(which: int, depth: int) -> Notice:
    """Make a notice that shares nothing with others."""
    del depth
    pair = Pair(f"@sender{which}:withheld.test", f"device:DEVICE{which:04}", WITHHELD)
    return Notice(NoOlm(), pair, f"{which:043}", "whole")


def of_request() -> Make:
    """Return what makes notices of which one request tells many devices."""
    told: dict[int, Notice] = {}

    def make(which: int, depth: int) -> Notice:
        sender = which % depth + which // depth // DEVICES_OF_REQUEST * depth
        notice = told.get(sender)
        if notice is None:
            notice = told[sender] = of_its_own(sender, depth)
        return notice

    return make


def _time(sizes: Sizes) -> dict[Filled, dict[str, float]]:
    most = min(sizes.weighed, MOST)
    of_mailbox = min(most, LIMITS.of_mailbox)
    roomy = Limits(10 * MOST)
    some = [
        filled("few", 10, 10, roomy),
        filled("many mailboxes", most, 10, roomy),
        filled("one mailbox", of_mailbox, of_mailbox, roomy),
        filled("full", most, 10, Limits(most)),
        filled("one full mailbox", of_mailbox, of_mailbox, Limits(10 * of_mailbox)),
    ]
    timings = {each: dict.fromkeys(CALLS, float("inf")) for each in some}
    # In turns, so that a change of the clock's rate meets all of them.
    for _ in range(sizes.repeats):
        for each, best in timings.items():
            for name in CALLS:
                best[name] = min(best[name], each.call(name))
    return timings


def _rows(sizes: Sizes, depth: int) -> int:
    # What is in one mailbox is bounded, and so are mailboxes.
    most = min(sizes.weighed, MOST, depth * LIMITS.mailboxes)
    return depth if depth == LIMITS.of_mailbox else most


def _mailbox(which: int, depth: int) -> MailboxKey:
    return (f"@recipient{which // depth}:withheld.test", f"DEV{which // depth:07}")


def _table_of_weights(weights: dict[tuple[int, str], float], sizes: Sizes) -> Table:
    return Table(
        "What the memory takes",
        ("rows in each mailbox", "senders", "in all", "bytes per row", "MB together"),
        [
            (
                f"{depth:,}",
                name,
                f"{_rows(sizes, depth):,}",
                f"{weight:,.0f}",
                f"{weight * _rows(sizes, depth) / 1e6:,.1f}",
            )
            for (depth, name), weight in weights.items()
        ],
        [_WEIGHED],
    )


def _table_of_timings(timings: dict[Filled, dict[str, float]], sizes: Sizes) -> Table:
    return Table(
        "A call, with more and more remembered",
        ("what is remembered", "rows", "in each mailbox", *CALLS),
        [
            (
                each.name,
                f"{each.rows:,}",
                f"{each.depth:,}",
                *(f"{us:.1f}" for us in best.values()),
            )
            for each, best in timings.items()
        ],
        [_TIMED.format(repeats=sizes.repeats)],
    )


def _targets(
    weights: dict[tuple[int, str], float], timings: dict[Filled, dict[str, float]]
) -> list[Target]:
    weight = weights[TYPICAL, "one request"]
    few, *others = timings.values()
    # What takes less than a microsecond is slower where the processor's cache ends.
    slower = max(each[name] / few[name] for each in others for name in STORES)
    return [
        Target(
            f"bytes per remembered row, {TYPICAL} in each mailbox",
            f"at most {MOST_BYTES}",
            f"{weight:.0f}",
            weight <= MOST_BYTES,
            binding=True,
        ),
        Target(
            "slowest way to store, by what is remembered",
            f"at most {MOST_SLOWER} of what it takes with few",
            f"{slower:.2f}",
            slower <= MOST_SLOWER,
            binding=False,
        ),
    ]

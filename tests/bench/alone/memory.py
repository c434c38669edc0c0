"""What a remembered pair takes in memory, and that more of them cost no time."""

from __future__ import annotations

import random
import time
import tracemalloc
from typing import Any

import attrs
from synapse_withheld.memory.index import Index
from synapse_withheld.memory.storing import Limits

from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import LocalMessages
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.mailbox import MailboxKey, RowState
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.wiring import wire
from tests.bench.alone.code import NoHomeserver, drive, write
from tests.bench.instruments.messages import SENDER_KEY, content
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD

# Pairs in each mailbox. With 10, a million of them are in 100,000 mailboxes: the
# default limits.
DEPTHS = (1, 10, 20, 1000)
TYPICAL = 10
MOST_MAILBOXES = Config().max_mailboxes
MOST_BYTES = 150

# How much slower a decision may be where more is remembered.
MOST_SLOWER = 1.2
ASKED_ABOUT = 200

_WEIGHED = "`tracemalloc` counts them: tables, identifiers, all that is kept."
_TIMED = (
    "A duplicate from `Traffic.to_local` on, with a database that answers at once: "
    f"the mean of {ASKED_ABOUT} pairs drawn from all, best of"
)


@attrs.frozen(eq=False)
class Filled:
    """The module with pairs in its index.

    Attributes:
        depth: Pairs in each mailbox.
        batches: Duplicates of pairs that are drawn from all.
    """

    pairs: int
    depth: int
    traffic: Traffic
    batches: list[LocalMessages]

    def decide(self) -> float:
        """Return the microseconds that a decision about one takes."""
        started = time.perf_counter()
        for batch in self.batches:
            drive(self.traffic.to_local(batch, write))
        return (time.perf_counter() - started) / len(self.batches) * 1e6


class QueuedAnyway(NoHomeserver):
    """Surroundings in which every row that is asked about is queued."""

    async def run_statement(self, *arguments: Any) -> Any:
        """Answer at once."""
        return {row: RowState() for row in arguments[-1]}


def measure(sizes: Sizes) -> Findings:
    """Weigh a full index and time decisions, for mailboxes of different depth."""
    weights = {each: weigh(_pairs(sizes, each), each) for each in DEPTHS}
    filled = [remembering(*each) for each in sizes.filled]
    timings = dict.fromkeys(filled, float("inf"))
    # In turns, so that a change of the clock's rate meets all of them.
    for _ in range(sizes.repeats):
        for each in filled:
            timings[each] = min(timings[each], each.decide())
    tables = [_table_of_weights(weights, sizes), _table_of_timings(timings, sizes)]
    return Findings(tables, _targets(weights, timings))


def weigh(pairs: int, depth: int) -> float:
    """Return how many bytes an index takes for each of its pairs."""
    index = Index(Limits(pairs, pairs, pairs, pairs, pairs), spoofs_possible=False)
    tracemalloc.start()
    try:
        fill(index, pairs, depth)
        return tracemalloc.get_traced_memory()[0] / pairs
    finally:
        tracemalloc.stop()


def remembering(pairs: int, depth: int) -> Filled:
    """Return the module with so much remembered."""
    traffic = wire(
        Config(max_pairs=pairs, max_mailboxes=pairs),
        QueuedAnyway(),
        Metrics("bench"),
        Tally(time.monotonic),
        spoofs_possible=False,
    )
    fill(traffic.inbox.index, pairs, depth)
    drawn = random.Random(pairs)  # noqa: S311 nothing here is secret
    batches = [_batch(drawn.randrange(pairs), depth) for _ in range(ASKED_ABOUT)]
    return Filled(pairs, depth, traffic, batches)


def fill(index: Index, pairs: int, depth: int) -> None:
    """Store pairs, each of another sender, so many in each mailbox."""
    for which in range(pairs):
        if which % depth == 0:
            key = _mailbox(which, depth)
            index.end_reading(key, index.begin_reading(key), [])
        # Nothing is shared that would not be in a running Synapse.
        watch = index.begin(_mailbox(which, depth), _notice(which), 0)
        index.settle(watch, stream_id=which + 1)
    assert index.pairs == pairs


def _pairs(sizes: Sizes, depth: int) -> int:
    return min(sizes.weighed, depth * MOST_MAILBOXES)


def _mailbox(which: int, depth: int) -> MailboxKey:
    return (f"@recipient{which // depth}:withheld.test", f"DEV{which // depth:07}")


def _sender(which: int) -> str:
    return f"@sender{which}:withheld.test"


def _notice(which: int) -> Notice:
    pair = Pair(_sender(which), "device:SENDERDEV", WITHHELD)
    return Notice(NoOlm(), pair, SENDER_KEY)


def _batch(which: int, depth: int) -> LocalMessages:
    user_id, device_id = _mailbox(which, depth)
    message = {"content": content(WITHHELD), "type": WITHHELD, "sender": _sender(which)}
    return {user_id: {device_id: message}}


def _table_of_weights(weights: dict[int, float], sizes: Sizes) -> Table:
    return Table(
        "Memory of the index",
        ("pairs in each mailbox", "in all", "bytes per pair", "MB together"),
        [
            (
                f"{depth:,}",
                f"{_pairs(sizes, depth):,}",
                f"{weight:,.0f}",
                f"{weight * _pairs(sizes, depth) / 1e6:,.1f}",
            )
            for depth, weight in weights.items()
        ],
        [f"Each pair is of another sender. {_WEIGHED}"],
    )


def _table_of_timings(timings: dict[Filled, float], sizes: Sizes) -> Table:
    fastest = min(timings.values())
    return Table(
        "A decision, with more and more remembered",
        ("pairs", "in each mailbox", "microseconds", "of the fastest"),
        [
            (
                f"{each.pairs:,}",
                f"{each.depth:,}",
                f"{us:.1f}",
                f"{us / fastest:.2f}",
            )
            for each, us in timings.items()
        ],
        [f"{_TIMED} {sizes.repeats} repeats."],
    )


def _targets(weights: dict[int, float], timings: dict[Filled, float]) -> list[Target]:
    weight = weights[TYPICAL]
    slower = max(timings.values()) / min(timings.values())
    return [
        Target(
            f"bytes per remembered pair, {TYPICAL} in each mailbox",
            f"at most {MOST_BYTES}",
            f"{weight:.0f}",
            weight <= MOST_BYTES,
            binding=True,
        ),
        Target(
            "slowest decision, by what is remembered",
            f"at most {MOST_SLOWER} of the fastest",
            f"{slower:.2f}",
            slower <= MOST_SLOWER,
            binding=False,
        ),
    ]

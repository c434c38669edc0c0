"""What a remembered pair takes in memory."""

from __future__ import annotations

import tracemalloc

from synapse_withheld.index import Index
from synapse_withheld.notice import Notice, Pair
from synapse_withheld.watch import Limits
from tests.bench.report import Findings, Table
from tests.bench.sizes import Sizes
from tests.harness.messages import WITHHELD

PAIRS_OF_MAILBOX = (1, 20, 1000)


def measure(sizes: Sizes) -> Findings:
    """Weigh a full index, for mailboxes of different depth."""
    rows = [
        (f"{each:,}", f"{weigh(sizes.pairs, each):,.0f}") for each in PAIRS_OF_MAILBOX
    ]
    header = ("pairs in each mailbox", "bytes per pair")
    how = f"{sizes.pairs:,} pairs, each of another sender; by `tracemalloc`."
    return Findings([Table("Memory of the index", header, rows, [how])])


def weigh(pairs: int, pairs_of_mailbox: int) -> float:
    """Return how many bytes an index takes for each of its pairs."""
    index = Index(Limits(pairs, pairs, pairs, pairs), spoofs_possible=False)
    tracemalloc.start()
    try:
        for number in range(pairs // pairs_of_mailbox):
            key = (f"@recipient{number}:withheld.test", "DEVICEID42")
            index.end_reading(key, index.begin_reading(key), [])
            for sender in range(pairs_of_mailbox):
                notice = _notice(number * pairs_of_mailbox + sender)
                index.settle(index.begin(key, notice, 0), stream_id=number + 1)
        assert index.pairs == pairs
        return tracemalloc.get_traced_memory()[0] / pairs
    finally:
        tracemalloc.stop()


def _notice(number: int) -> Notice:
    pair = Pair(f"@sender{number}:withheld.test", f"device:{number:010}", WITHHELD)
    return Notice(pair, f"{number:043}", scoped=False)

"""What the module remembers takes of memory, without Synapse."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import count
from pathlib import Path

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import NoOlm
from tests.demo.output import show
from tests.harness.messages import WITHHELD

PAIRS = 200_000
# A client tells up to so many devices with one request.
DEVICES_OF_REQUEST = 250

_HOW = (
    "Rows at the limit, but for the first line. Told: how many devices each sender "
    "told; who told one shares nothing, as only servers do that make senders up. "
    "Bytes: all that is kept, as `tracemalloc` counts. Wanted: at most 500 where "
    f"{DEVICES_OF_REQUEST} were told."
)


async def measure(_: Path, quick: bool) -> None:
    pairs, lines = 10_000 if quick else PAIRS, []
    limits = Limits(pairs)
    for rows, depth, told in (
        (10, 10, 1),
        (limits.mailboxes, 1, 1),
        (pairs, 10, 1),
        (pairs, 10, DEVICES_OF_REQUEST),
        (limits.of_mailbox, limits.of_mailbox, 1),
    ):
        weight = _weight(limits, rows, depth, told)
        state = {"rows": rows, "in each mailbox": depth, "told": told}
        lines.append({**state, "bytes per row": weight // rows, "MB": weight / 1e6})
    show("What the memory takes", lines, _HOW)


def _weight(limits: Limits, rows: int, depth: int, told: int) -> int:
    """Return the bytes of so many rows, so many of them in each mailbox."""
    tracemalloc.start()
    memory = Memory(limits, sees_reads=False, hold_s=None)
    notices: dict[int, Notice] = {}
    stream_ids = count(1)
    for which in range(rows):
        mailbox = which // depth
        sender = which % depth + mailbox // told * depth
        if sender not in notices:
            device = f"device:DEVICE{sender:04}"
            pair = Pair(f"@sender{sender}:withheld.test", device, WITHHELD)
            notices[sender] = Notice(NoOlm(), pair, f"{sender:043}", "whole")
        # Nothing else is shared that would not be in a running Synapse.
        key = (f"@recipient{mailbox}:withheld.test", f"DEV{mailbox:07}")
        memory.open(key, 0).learned = True
        notice = notices[sender]
        stored = memory.begin(key, notice, notice.pair.sender, 0, 0.0)
        memory.settle(stored, next(stream_ids))
    del notices, stored
    gc.collect()
    weight = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return weight

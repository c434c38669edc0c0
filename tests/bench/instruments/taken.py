"""What a Synapse and its database have taken: processor, WAL, statements."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Callable

import attrs

from tests.bench.instruments.asking import clock_of
from tests.bench.instruments.synapses import Lane
from tests.harness.samples import total
from tests.harness.waiting import pause

# What is done after the answer (deleting superseded rows, waking readers) is done
# within so many seconds.
AFTERMATH_S = 0.2

# What comes after an answer is over where so little of a processor is taken for so
# long, in seconds; or after all that time.
QUIET, LOOK_EVERY_S, ENDS_WITHIN_S = 0.03, 1.0, 60.0

# Synapse's own counts of what was executed.
_TRANSACTIONS = "synapse_storage_transaction_time_count_total"
_QUERIES = "synapse_storage_query_time_count"
_OF_MODULE = 'desc="withheld_'

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"


@attrs.frozen
class Taken:
    """What was taken since a Synapse and its database began.

    Attributes:
        cpu_s: Seconds of processor.
        wal_bytes: Bytes of WAL; 0 on SQLite.
        statements: All that were executed.
        of_module: The module's transactions, of one statement each.
    """

    cpu_s: float
    wal_bytes: float
    statements: float
    of_module: float

    @classmethod
    async def by(cls, lane: Lane) -> Taken:
        """Look at all of it, after what answers leave to be done."""
        await pause(AFTERMATH_S)
        metrics = await lane.homeserver.metrics()
        of_module = (
            times
            for name, times in metrics.items()
            if name.startswith(_TRANSACTIONS) and _OF_MODULE in name
        )
        wal_bytes = 0
        if lane.database:
            ((wal_bytes,),) = lane.homeserver.query(_WAL)
        queries = total(metrics, _QUERIES)
        return cls(cpu_s(lane), float(wal_bytes), queries, sum(of_module))

    def each(self, earlier: Taken, count: int) -> Taken:
        """Return what one of so many requests since then took."""
        both = zip(attrs.astuple(self), attrs.astuple(earlier))
        return Taken(*((now - then) / count for now, then in both))


def cpu_s(lane: Lane) -> float:
    """Return the seconds of processor time of a Synapse and of its PostgreSQL."""
    assert lane.homeserver.pid is not None
    pids = [lane.homeserver.pid]
    if lane.database:
        pids += [pid for (pid,) in lane.homeserver.query(_BACKENDS)]
    taken_s = 0.0
    for pid in pids:
        # A connection may have ended.
        with suppress(OSError):
            taken_s += time.clock_gettime(clock_of(pid))
    return taken_s


async def become_quiet(
    lane: Lane, of_others: Callable[[float], float] = lambda _: 0.0
) -> None:
    """Wait until what follows from requests is over.

    Args:
        lane: Where they were made.
        of_others: The processor time that other requests took since some time.
    """
    ends = time.monotonic() + ENDS_WITHIN_S
    while (then := time.monotonic()) < ends:
        before = cpu_s(lane)
        await pause(LOOK_EVERY_S)
        taken_s = cpu_s(lane) - before - of_others(then)
        if taken_s <= QUIET * (time.monotonic() - then):
            return

"""Count what a Synapse did in a window: its statements and its bytes of WAL."""

from __future__ import annotations

import time
from statistics import median
from typing import Awaitable, Callable, Sequence

import attrs

from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.sqllog import Statements
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.polling import pause

# What is done after the answer (deleting superseded rows, waking readers) is done
# within so many seconds.
AFTERMATH_S = 0.2

# Synapse writes the last use of devices every 5 s, other things every 10 s.
IDLE_S = 12.0

# A new Synapse fills tables and builds indexes in the background first.
SETTLED_WITHIN_S = 60


@attrs.frozen
class Window:
    """What happened while some requests were made, and a moment after."""

    statements: Statements
    wal_bytes: int
    seconds: float


async def count(lane: Lane, work: Callable[[], Awaitable[object]]) -> Window:
    """Return what happened from before some work to a moment after its end."""
    lane.sql_log.skip()
    wal_bytes, started = wal(lane.homeserver), time.monotonic()
    await work()
    await pause(AFTERMATH_S)
    return Window(
        lane.sql_log.read(),
        wal(lane.homeserver) - wal_bytes,
        time.monotonic() - started,
    )


async def watch_idle(lane: Lane, seconds: float = IDLE_S) -> Window:
    """Return what happens while no requests are made."""
    return await count(lane, lambda: pause(seconds))


async def settled(homeserver: Homeserver) -> None:
    """Wait until a new Synapse has done what it does once."""
    for _ in range(SETTLED_WITHIN_S):
        if homeserver.query("SELECT COUNT(*) FROM background_updates") == [(0,)]:
            return
        await pause(1)


def wal(homeserver: Homeserver) -> int:
    """Return how many bytes of WAL its PostgreSQL has written since it was made."""
    ((position,),) = homeserver.query(
        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
    )
    return int(position)


def wal_of_requests(windows: Sequence[Window], idle: Window) -> float:
    """Return the bytes of WAL of the median window, less those of an idle Synapse.

    The median, since what Synapse writes of itself comes in bursts: in some of the
    windows much more than its average, in most of them nothing.
    """
    idle_rate = idle.wal_bytes / idle.seconds
    return median(each.wal_bytes - idle_rate * each.seconds for each in windows)

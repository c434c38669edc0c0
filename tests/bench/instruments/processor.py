"""How much of the processor a Synapse and its database have taken."""

from __future__ import annotations

import time
from typing import Callable

from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.probe import clock_of
from tests.harness.polling import pause

# What comes after an answer is over where so little of a processor is taken for so
# long, in seconds; or after all that time.
QUIET, LOOK_EVERY_S, ENDS_WITHIN_S = 0.03, 1.0, 60.0

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"


def cpu_s(lane: Lane) -> float:
    """Return the seconds of processor time of a Synapse and of its PostgreSQL."""
    pids = [lane.homeserver.pid]
    if not lane.on_sqlite:
        pids += [pid for (pid,) in lane.homeserver.query(_BACKENDS)]
    return sum(_of(pid) for pid in pids)


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


def _of(pid: int | None) -> float:
    """Return the seconds that all threads of a process have taken."""
    try:
        return 0.0 if pid is None else time.clock_gettime(clock_of(pid))
    except OSError:
        return 0.0  # it has ended

"""How much of the processor a Synapse and its database have taken."""

from __future__ import annotations

from pathlib import Path

from tests.bench.instruments.lanes import Lane

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"


def cpu_s(lane: Lane) -> float:
    """Return the seconds of processor time of a Synapse and of its PostgreSQL."""
    pids = [lane.homeserver.pid]
    if not lane.on_sqlite:
        pids += [pid for (pid,) in lane.homeserver.query(_BACKENDS)]
    return sum(_of(pid) for pid in pids)


def _of(pid: int | None) -> float:
    """Return the seconds that all threads of a process have taken."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(map(_nanoseconds, threads)) / 1e9


def _nanoseconds(thread: Path) -> int:
    try:
        return int(thread.read_text().split()[0])
    except OSError:
        return 0  # it has ended

"""What a homeserver holds: memory, files, threads, transactions, work that waits."""

from __future__ import annotations

import statistics
from pathlib import Path

import attrs

from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.metrics.samples import FAILURES, HOUSEKEEPING, total

# What a process may hold more in the end; caches of Synapse's fill for hours.
MORE_MIB, MORE_SHARE, MORE_FILES, MORE_THREADS = 20, 0.1, 30, 10
# A transaction that has been open for so long has been forgotten.
OPEN_FOR_S = 5


@attrs.frozen
class Sample:
    """What a homeserver holds at a moment."""

    at: float
    pid: int
    mib: float
    files: int
    threads: int
    transactions: int
    waits: int
    failures: int


async def look(homeserver: Homeserver, at: float) -> Sample | None:
    """Look at a homeserver, if it runs."""
    pid = homeserver.pid
    if pid is None:
        return None
    try:
        process = Path("/proc") / str(pid)
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines()
        )
        metrics = await homeserver.metrics()
        ((transactions,),) = homeserver.query(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND EXTRACT(EPOCH FROM NOW() - xact_start) > ?",
            (OPEN_FOR_S,),
        )
        return Sample(
            at,
            pid,
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((process / "fd").iterdir())),
            int(status["Threads"]),
            int(transactions),
            int(total(metrics, HOUSEKEEPING)),
            int(total(metrics, FAILURES)),
        )
    except Exception:  # noqa: BLE001 it, or its database, is going or coming
        return None


@attrs.frozen
class Held:
    """What a process held at the beginning and at the end of a quiet time."""

    first: Sample
    last: Sample

    @classmethod
    def between(cls, samples: list[Sample], begin: float, end: float) -> Held | None:
        """Take the medians of the first and the last fifth of a time."""
        within = [each for each in samples if begin <= each.at <= end]
        fifth = max(1, len(within) // 5)
        if len({each.pid for each in within}) != 1:
            return None
        return cls(_median(within[:fifth]), _median(within[-fifth:]))

    def problems(self, stock: Held) -> list[str]:
        """Say what grew more than on stock Synapse."""
        grew = max(0.0, stock.last.mib - stock.first.mib)
        allowed = {
            "mib": self.first.mib * MORE_SHARE + MORE_MIB + grew,
            "files": MORE_FILES,
            "threads": MORE_THREADS,
            "transactions": 0,
            "failures": 0,
        }
        before, after = attrs.asdict(self.first), attrs.asdict(self.last)
        return [
            f"{what} grew from {before[what]:.0f} to {after[what]:.0f}"
            for what, more in allowed.items()
            if after[what] > before[what] + more
        ]


def _median(samples: list[Sample]) -> Sample:
    names = [each.name for each in attrs.fields(Sample)]
    return Sample(
        *(statistics.median(getattr(each, name) for each in samples) for name in names)
    )

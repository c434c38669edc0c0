"""What a homeserver holds: memory, files, threads, transactions, work that waits."""

from __future__ import annotations

import statistics
from pathlib import Path

import attrs

from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.metrics.samples import FAILURES, HOUSEKEEPING, total

# What a process may hold more in the end; caches of Synapse's fill for hours.
MORE_MIB, MORE_SHARE, MORE_FILES, MORE_THREADS, MORE_WAITS = 20, 0.1, 30, 10, 50
NAMES = ("mib", "files", "threads", "transactions", "waits", "failures")
# A transaction that has been open for so long has been forgotten.
OPEN_FOR_S = 5


@attrs.frozen
class Sample:
    """What a homeserver holds at a moment.

    Attributes:
        at: When, in seconds since the beginning.
        mib: Its memory.
        transactions: Those that have been open for long.
        waits: What the module has to do in the background.
        failures: Those of the module, since the homeserver started.
    """

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
    except Exception:  # noqa: BLE001 it or its database is going or coming
        return None


@attrs.frozen
class Held:
    """What a homeserver held at the beginning and at the end of a quiet time.

    Attributes:
        restarts: How many times its process was another one.
    """

    first: dict[str, float]
    last: dict[str, float]
    restarts: int

    @classmethod
    def between(cls, samples: list[Sample], begin: float, end: float) -> Held:
        """Take the medians of the first and of the last fifth of a time."""
        within = [each for each in samples if begin <= each.at <= end]
        fifth = max(1, len(within) // 5)
        restarts = len({each.pid for each in within}) - 1
        return cls(_medians(within[:fifth]), _medians(within[-fifth:]), restarts)

    def told(self, name: str) -> str:
        return f"{self.first[name]:.0f} to {self.last[name]:.0f}"

    def problems(self, stock: Held) -> list[str]:
        """Say what grew more than on stock Synapse."""
        grew = max(0.0, stock.last["mib"] - stock.first["mib"])
        allowed = {
            "mib": self.first["mib"] * MORE_SHARE + MORE_MIB + grew,
            "files": MORE_FILES,
            "threads": MORE_THREADS,
            "transactions": 0,
            "waits": MORE_WAITS,
            "failures": 0,
        }
        return ["it ended by itself"] * self.restarts + [
            f"{name} grew: {self.told(name)}"
            for name, more in allowed.items()
            if self.last[name] > self.first[name] + more
        ]


def _medians(samples: list[Sample]) -> dict[str, float]:
    return {
        name: statistics.median([getattr(each, name) for each in samples] or [0])
        for name in NAMES
    }

"""What a homeserver holds: memory, files, threads, transactions, work that waits."""

from __future__ import annotations

import statistics
from pathlib import Path

import attrs

from tests.harness.samples import FAILURES, HOUSEKEEPING, total
from tests.harness.servers.homeserver import Homeserver

# A transaction that has been open for so long has been forgotten.
OPEN_FOR_S = 5
OPEN = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND EXTRACT(EPOCH FROM NOW() - xact_start) > ?
"""

# By how much each may grow. The memory also by what it grows on stock Synapse, whose
# caches fill for hours.
MIB = "MiB of memory"
MAY_GROW = {
    MIB: 30,
    "files": 30,
    "threads": 10,
    "old transactions": 0,
    "work that waits": 50,
    "failures of the module": 0,
}
_AT, _PROCESS = "at", "process"

# What it held at a moment, by name.
Sample = dict[str, float]


async def look(homeserver: Homeserver, at_s: float) -> Sample | None:
    """Look at a homeserver; `None` if it or its database goes or comes just now."""
    try:
        process = Path(f"/proc/{homeserver.pid}")
        lines = (process / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        metrics = await homeserver.metrics()
        ((transactions,),) = homeserver.query(OPEN, (OPEN_FOR_S,))
        held = (
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((process / "fd").iterdir())),
            int(status["Threads"]),
            transactions,
            total(metrics, HOUSEKEEPING),
            total(metrics, FAILURES),
        )
    except Exception:  # noqa: BLE001 whatever it is: it does not run
        return None
    return {_AT: at_s, _PROCESS: homeserver.pid or 0, **dict(zip(MAY_GROW, held))}


@attrs.frozen
class Held:
    """What a homeserver held at the beginning and at the end of a quiet time.

    Attributes:
        starts: How often its process was started anew.
    """

    first: Sample
    last: Sample
    starts: int

    @classmethod
    def between(cls, samples: list[Sample], begin_s: float, end_s: float) -> Held:
        """Take the medians of the first and of the last fifth of a time."""
        within = [each for each in samples if begin_s <= each[_AT] <= end_s]
        fifth = max(1, len(within) // 5)
        starts = len({each[_PROCESS] for each in within}) - 1
        return cls(_medians(within[:fifth]), _medians(within[-fifth:]), starts)

    def told(self, name: str) -> str:
        return f"{self.first[name]:.0f} to {self.last[name]:.0f}"

    def problems(self, stock: Held) -> list[str]:
        may_grow = {**MAY_GROW, MIB: MAY_GROW[MIB] + stock.last[MIB] - stock.first[MIB]}
        return ["it was started anew, or never seen"] * (self.starts != 0) + [
            f"{name}: {self.told(name)}"
            for name, most in may_grow.items()
            if self.last[name] > self.first[name] + most
        ]


def _medians(samples: list[Sample]) -> Sample:
    return {
        name: statistics.median([each[name] for each in samples] or [0])
        for name in MAY_GROW
    }

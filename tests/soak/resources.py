"""What a homeserver holds: memory, files, threads, transactions, work that waits."""

from __future__ import annotations

import statistics
from pathlib import Path

import attrs

from tests.harness.samples import FAILURES, HOUSEKEEPING, total
from tests.harness.servers.homeserver import Homeserver

# A transaction that has been open for five seconds has been forgotten.
OPEN = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND NOW() - xact_start > INTERVAL '5 seconds'
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


@attrs.frozen
class Sample:
    """What a process held at a moment, by name."""

    at_s: float
    pid: int | None
    held: dict[str, float]


async def look(homeserver: Homeserver, at_s: float) -> Sample | None:
    """Look at a homeserver; `None` if it or its database goes or comes just now."""
    try:
        process = Path(f"/proc/{homeserver.pid}")
        lines = (process / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        metrics = await homeserver.metrics()
        ((transactions,),) = homeserver.query(OPEN)
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
    return Sample(at_s, homeserver.pid, dict(zip(MAY_GROW, held)))


class Held:
    """What a homeserver held at the beginning and at the end of a quiet time."""

    def __init__(self, samples: list[Sample], begin_s: float, end_s: float) -> None:
        """Take the medians of the first and of the last fifth of the time."""
        within = [each for each in samples if begin_s <= each.at_s <= end_s]
        fifth = max(1, len(within) // 5)
        self.first, self.last = _medians(within[:fifth]), _medians(within[-fifth:])
        self._processes = {each.pid for each in within}

    def told(self, name: str) -> str:
        return f"{self.first[name]:.0f} to {self.last[name]:.0f}"

    def problems(self, stock: Held) -> list[str]:
        may_grow = {**MAY_GROW, MIB: MAY_GROW[MIB] + stock.last[MIB] - stock.first[MIB]}
        return ["it was started anew, or never seen"] * (len(self._processes) != 1) + [
            f"{name}: {self.told(name)}"
            for name, most in may_grow.items()
            if self.last[name] > self.first[name] + most
        ]


def _medians(samples: list[Sample]) -> dict[str, float]:
    return {
        name: statistics.median([each.held[name] for each in samples] or [0])
        for name in MAY_GROW
    }

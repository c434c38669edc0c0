"""How often things happened in each minute of the last hour."""

from __future__ import annotations

from collections import Counter, deque
from typing import Callable

STEP_S = 60
STEPS = 60


class History:
    """Counts by name and minute, of the last hour."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Start with an hour in which nothing happened, by a clock in seconds."""
        self._seconds = seconds
        self._steps: deque[Counter[str]] = deque(maxlen=STEPS)
        self._last = self._now() - STEPS

    def add(self, name: str, times: int = 1) -> None:
        self._move()
        self._steps[-1][name] += times

    def of(self, name: str) -> list[int]:
        """Return how often something happened, per minute, oldest first.

        The last is the minute that has begun.
        """
        self._move()
        return [step[name] for step in self._steps]

    def began_s(self) -> float:
        """Return how long ago the first of these minutes began, in seconds."""
        return self._seconds() - (self._now() - STEPS + 1) * STEP_S

    def _now(self) -> int:
        return int(self._seconds() // STEP_S)

    def _move(self) -> None:
        """Begin the minutes that have passed since the last call."""
        now = self._now()
        self._steps.extend(Counter() for _ in range(min(now - self._last, STEPS)))
        self._last = now

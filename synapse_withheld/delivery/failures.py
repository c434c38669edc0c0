"""Count and log our failures, and stand aside when the database keeps failing."""

from __future__ import annotations

import logging
from collections import deque
from typing import Callable

from synapse_withheld.database.store import StatementError
from synapse_withheld.operators.metrics import Metrics

logger = logging.getLogger(__name__)

LOG_EVERY_S = 60.0

# So many failed statements within so many seconds, and the module stands aside
# for so many seconds.
MOST_FAILURES = 5
FAILURES_WITHIN_S = 60.0
ASIDE_FOR_S = 60.0


class Failures:
    """What went wrong lately."""

    def __init__(
        self,
        metrics: Metrics,
        seconds: Callable[[], float],
        stand_aside: Callable[[], None],
    ) -> None:
        """Start without failures.

        Args:
            metrics: Where they are counted.
            seconds: A clock that never goes back, in seconds.
            stand_aside: Called when the module begins to stand aside.
        """
        self._metrics = metrics
        self._seconds = seconds
        self._stand_aside = stand_aside
        self._logged: dict[str, float] = {}
        self._statements: deque[float] = deque(maxlen=MOST_FAILURES)
        self._aside_until = 0.0

    @property
    def standing_aside(self) -> bool:
        """Say whether the module leaves everything to Synapse for now."""
        return self._seconds() < self._aside_until

    def note(self, stage: str, error: BaseException) -> None:
        """Count a failure; log it unless the same stage was logged lately.

        Only failed statements count towards standing aside: what a user can
        provoke must not switch the module off for others.
        """
        self._metrics.failure(stage)
        now = self._seconds()
        if now - self._logged.get(stage, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged[stage] = now
            logger.error(
                "synapse_withheld failed at stage '%s'; messages are stored as "
                "Synapse without it would (logged once a minute)",
                stage,
                exc_info=(type(error), error, error.__traceback__),
            )
        if isinstance(error, StatementError):
            self._note_statement(now)

    def _note_statement(self, now: float) -> None:
        self._statements.append(now)
        if (
            len(self._statements) == MOST_FAILURES
            and now - self._statements[0] <= FAILURES_WITHIN_S
            and not self.standing_aside
        ):
            self._aside_until = now + ASIDE_FOR_S
            self._statements.clear()
            logger.warning(
                "synapse_withheld: %d statements failed within %d s; standing aside "
                "for %d s",
                MOST_FAILURES,
                FAILURES_WITHIN_S,
                ASIDE_FOR_S,
            )
            self._stand_aside()

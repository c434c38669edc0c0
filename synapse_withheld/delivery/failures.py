"""Count and log our failures; nothing of ours may become one of Synapse's."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Callable

import attrs

from synapse_withheld.operators.metrics import Metrics

logger = logging.getLogger(__name__)

LOG_EVERY_S = 60.0


@attrs.define(eq=False, slots=False)
class Failures:
    """What went wrong lately."""

    metrics: Metrics
    seconds: Callable[[], float]
    _logged: dict[str, float] = attrs.field(factory=dict, init=False)

    def note(self, stage: str, error: BaseException) -> None:
        """Count a failure; log it unless the same stage was logged lately."""
        # Whoever calls this is about to store a message all the same.
        with suppress(Exception):
            self.metrics.failure(stage)
            now = self.seconds()
            if now - self._logged.get(stage, -LOG_EVERY_S) >= LOG_EVERY_S:
                self._logged[stage] = now
                logger.error(
                    "synapse_withheld failed at stage '%s'; messages are stored as "
                    "Synapse without it would (logged once a minute)",
                    stage,
                    exc_info=(type(error), error, error.__traceback__),
                )

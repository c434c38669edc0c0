"""The module at work: faults that tests ask for, and what else fails in it."""

from __future__ import annotations

from typing import Any

from synapse_withheld.config import Config
from synapse_withheld.database.cancelling import CancelledStatementError
from synapse_withheld.delivery.runtime import Homeserver
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.wiring import wire


class LostError(Exception):
    """The connection was lost, as a test asked for."""


def lost() -> LostError:
    """Return a fault."""
    return LostError("as asked for")


def loaded(
    config: Config, hs: Homeserver, tally: Tally | None = None
) -> tuple[Traffic, list[BaseException]]:
    """Load the module; return it, and a list to which its every failure is added."""
    tally = tally or Tally(hs.runtime().seconds)
    traffic = wire(config, hs, Metrics("model"), tally)
    failures: list[BaseException] = []
    note = traffic.failures.note

    def note_and_keep(stage: str, error: BaseException) -> None:
        failures.append(error)
        note(stage, error)

    traffic.failures.note = note_and_keep  # type: ignore[method-assign]
    return traffic, failures


def was_asked_for(error: Any) -> bool:
    """Say whether a failure is a fault that a test asked for."""
    causes = (error, error.__cause__)
    return any(
        isinstance(each, (LostError, CancelledStatementError, ZeroDivisionError))
        for each in causes
    )

"""Faults that tests ask for, and what else failed in the module."""

from __future__ import annotations

from typing import Any

from synapse_withheld.database.cancelling import CancelledStatementError
from synapse_withheld.delivery.traffic import Traffic


class LostError(Exception):
    """The connection was lost, as a test asked for."""


def lost() -> LostError:
    """Return a fault."""
    return LostError("as asked for")


def failures_of(traffic: Traffic) -> list[BaseException]:
    """Return a list to which every failure in the module is added."""
    failures: list[BaseException] = []
    note = traffic.failures.note

    def note_and_keep(stage: str, error: BaseException) -> None:
        failures.append(error)
        note(stage, error)

    traffic.failures.note = note_and_keep  # type: ignore[method-assign]
    return failures


def was_asked_for(error: Any) -> bool:
    """Say whether a failure is a fault that a test asked for."""
    causes = (error, error.__cause__)
    return any(
        isinstance(each, (LostError, CancelledStatementError, ZeroDivisionError))
        for each in causes
    )

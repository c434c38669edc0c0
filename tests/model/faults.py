"""Faults that tests ask for, and how they are told from others."""

from __future__ import annotations

from synapse_withheld.database.cancelling import CancelledStatementError


class LostError(Exception):
    """The connection was lost, as a test asked for."""


def was_asked_for(error: BaseException) -> bool:
    """Say whether a failure is a fault that a test asked for."""
    asked_for = (LostError, CancelledStatementError, ZeroDivisionError)
    return isinstance(error.__cause__ or error, asked_for)

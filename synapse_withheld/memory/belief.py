"""Whether a new notice is believed to be a duplicate of what is queued."""

from __future__ import annotations

from typing import Callable, NamedTuple

from synapse_withheld.memory.tables.records import ByAge, Record
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import SUPERSEDE, Decision
from synapse_withheld.rules.notice import Notice


class Belief(NamedTuple):
    """What a new notice is believed to be.

    Attributes:
        decision: `DUPLICATE`, or why it is to be stored.
        record: The row that it is a duplicate of; `None` where it is to be stored.
    """

    decision: Decision
    record: Record | None = None


def believe(
    notice: Notice,
    of_pair: ByAge,
    is_rearmed: Callable[[Record], bool],
    is_read: Callable[[Record], bool],
) -> Belief:
    """Say what a notice is, given what is remembered of its pair.

    Args:
        notice: The new notice.
        of_pair: What is remembered of its pair: anything.
        is_rearmed: Says whether an Olm message passed since a row was sorted.
        is_read: Says whether a row may have been handed out since.
    """
    record = _says_it(notice, of_pair)
    if record is None:
        return Belief(_why_stored(notice, of_pair))
    if is_rearmed(record):
        return Belief(decision.REARMED)
    if is_read(record):
        return Belief(decision.READ)
    return Belief(decision.DUPLICATE, record)


def _says_it(notice: Notice, of_pair: ByAge) -> Record | None:
    """Return the newest row that says as much as a notice, if nothing newer differs.

    One that was found in the database does not count: nobody knows what passed since.
    """
    says_as_much = notice.rule.says_as_much
    for number, record in reversed(list(enumerate(of_pair))):
        if record.seen_arriving and says_as_much(record.notice, notice):
            newer = of_pair[number + 1 :]
            if all(says_as_much(record.notice, each.notice) for each in newer):
                return record
            return None
    return None


def _why_stored(notice: Notice, of_pair: ByAge) -> Decision:
    """Return what it does to the newest row to which it does anything."""
    for record in reversed(of_pair):
        why = notice.rule.why_stored(record.notice, notice)
        if why.action == SUPERSEDE:
            return why
    return decision.NOT_REPEATED

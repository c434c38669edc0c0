"""What a new notice is, given what is remembered of its pair, and what is queued."""

from __future__ import annotations

from typing import NamedTuple

from synapse_withheld.memory.tables.records import ByAge, Record
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import SUPERSEDE, Decision
from synapse_withheld.rules.mailbox import RowState
from synapse_withheld.rules.notice import Notice


class Belief(NamedTuple):
    """What a new notice is believed to be.

    Attributes:
        decision: `DUPLICATE`, or why it is to be stored.
        record: The row that it is a duplicate of; `None` where it is to be stored.
    """

    decision: Decision
    record: Record | None = None


def says_it(notice: Notice, of_pair: ByAge) -> Record | None:
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


def why_stored(notice: Notice, of_pair: ByAge) -> Decision:
    """Return what it does to the newest row to which it does anything."""
    for record in reversed(of_pair):
        why = notice.rule.why_stored(record.notice, notice)
        if why.action == SUPERSEDE:
            return why
    return decision.NOT_REPEATED


def judge(believed: Record, state: RowState | None, *, is_held: bool) -> Decision:
    """Return what a believed duplicate is, given what became of the row."""
    if state is None:
        return decision.UNKNOWN_DEVICE
    if not state.queued and not is_held:
        return decision.NOT_QUEUED
    if state.device_list_id > believed.device_list_id:
        # Of what was delivered, the one that got it may be gone.
        return decision.DEVICE_CHANGED if state.queued else decision.NOT_QUEUED
    if state.never_acknowledged:
        return decision.NEVER_ACKNOWLEDGED
    return decision.DUPLICATE if state.queued else decision.HELD

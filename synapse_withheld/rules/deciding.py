"""What becomes of a new notice, given what is known of the queued one."""

from __future__ import annotations

from synapse_withheld.rules.decision import (
    DEVICE_CHANGED,
    DUPLICATE,
    HELD,
    NEVER_ACKNOWLEDGED,
    NEW_KEY,
    NOT_QUEUED,
    REARMED,
    UNWATCHED,
    Decision,
)
from synapse_withheld.rules.mailbox import Remembered, RowState
from synapse_withheld.rules.notice import Notice


def decide(
    notice: Notice, earlier: Remembered, row: RowState | None, *, held: bool = False
) -> Decision:
    """Decide about a notice whose pair has a notice in the index.

    Args:
        notice: The new notice.
        earlier: What is remembered of the earlier one.
        row: What became of the earlier one's row; `None` if its device does not
            exist or is being deleted.
        held: Whether the earlier one, once delivered, still stands for later ones:
            never with `repeat: queued`, within the hold with `repeat: session`.
    """
    held = held and notice.rule.once_per_session
    if row is None or not (row.queued or held):
        return NOT_QUEUED
    news = _what_is_new(notice, earlier, row)
    if row.queued:
        return news or DUPLICATE
    return NOT_QUEUED if news else HELD


def _what_is_new(  # noqa: PLR0911 a return for each clause of the rule
    notice: Notice, earlier: Remembered, row: RowState
) -> Decision | None:
    news = notice.rule.news(notice.variant, earlier)
    if not notice.rule.about_keys:
        return news
    if not earlier.watched_since_stored:
        return UNWATCHED
    if not earlier.same_key:
        return NEW_KEY
    if earlier.rearmed:
        return REARMED
    if news is not None:
        return news
    if row.device_list_id > earlier.device_list_id:
        return DEVICE_CHANGED
    if row.never_acknowledged:
        return NEVER_ACKNOWLEDGED
    return None

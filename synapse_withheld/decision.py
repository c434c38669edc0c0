"""What becomes of a new notice, given what is known of the queued one.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

import attrs

from synapse_withheld.notice import Notice
from synapse_withheld.statements import Row
from synapse_withheld.watch import Queued


@attrs.frozen
class Decision:
    """What is done with a notice, and why, as metrics name it."""

    action: str
    reason: str


# Store it as Synapse does.
DELIVER = "deliver"
FIRST = Decision(DELIVER, "first")  # no notice of the pair is known to be queued
NOT_REPEATED = Decision(DELIVER, "not_repeated")  # it does not say the same
NOT_QUEUED = Decision(DELIVER, "not_queued")  # the known one was read, or is doomed
NO_ROOM = Decision(DELIVER, "limit")  # and it cannot be remembered
UNKNOWN_DEVICE = Decision(DELIVER, "unknown_device")
SPOOFED_SENDER = Decision(DELIVER, "spoofed_sender")
WAITED = Decision(DELIVER, "waited")  # patience ended
FAILED = Decision(DELIVER, "failed")  # something of ours failed
ALREADY_RECEIVED = Decision(DELIVER, "already_received")  # a repeated EDU: no row

# Store it, then delete the queued one.
SUPERSEDE = "supersede"
UNWATCHED = Decision(SUPERSEDE, "unwatched")  # Olm messages may have been missed
NEW_KEY = Decision(SUPERSEDE, "new_key")
REARMED = Decision(SUPERSEDE, "rearmed")
SCOPE = Decision(SUPERSEDE, "scope")  # the queued one says less
DEVICE_CHANGED = Decision(SUPERSEDE, "device_changed")  # it may be another device
NEVER_ACKNOWLEDGED = Decision(SUPERSEDE, "never_acknowledged")
WILDCARD = Decision(SUPERSEDE, "wildcard")  # another device needs the same message
NEW_CODE = Decision(SUPERSEDE, "new_code")  # for the same session
REPEATED = Decision(SUPERSEDE, "repeated")  # the newest of equal ones stays
CANCELLED = Decision(SUPERSEDE, "cancelled")  # the queued one was taken back

# Do not store it.
COLLAPSE = "collapse"
DUPLICATE = Decision(COLLAPSE, "duplicate")
HELD = Decision(COLLAPSE, "held")  # with `repeat: session`: one was delivered

ALL = (
    FIRST,
    NOT_REPEATED,
    NOT_QUEUED,
    NO_ROOM,
    UNKNOWN_DEVICE,
    SPOOFED_SENDER,
    WAITED,
    FAILED,
    ALREADY_RECEIVED,
    UNWATCHED,
    NEW_KEY,
    REARMED,
    SCOPE,
    DEVICE_CHANGED,
    NEVER_ACKNOWLEDGED,
    WILDCARD,
    NEW_CODE,
    REPEATED,
    CANCELLED,
    DUPLICATE,
    HELD,
)


def decide(
    notice: Notice, earlier: Queued, row: Row | None, *, held: bool = False
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
    notice: Notice, earlier: Queued, row: Row
) -> Decision | None:
    news = notice.rule.news(notice.variant, earlier)
    if not notice.rule.about_keys:
        return news
    if not earlier.complete:
        return UNWATCHED
    if not earlier.same_key:
        return NEW_KEY
    if earlier.rearmed:
        return REARMED
    if news is not None:
        return news
    if row.device_list_id > earlier.device_list_id:
        return DEVICE_CHANGED
    if row.kept_by_reader:
        return NEVER_ACKNOWLEDGED
    return None

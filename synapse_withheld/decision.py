"""The rule: what becomes of a new notice, given what is known of the queued one.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

import attrs

from synapse_withheld.notice import Notice, covers
from synapse_withheld.statements import QueuedRow
from synapse_withheld.watch import Watch


@attrs.frozen
class Decision:
    """What is done with a notice, and why, as metrics name it."""

    action: str
    reason: str


# Store it as Synapse does.
DELIVER = "deliver"
FIRST = Decision(DELIVER, "first")  # no notice of the pair is known to be queued
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

# Do not store it.
COLLAPSE = "collapse"
DUPLICATE = Decision(COLLAPSE, "duplicate")

ALL = (
    FIRST,
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
    DUPLICATE,
)


def decide(  # noqa: PLR0911 a return for each clause of the rule
    notice: Notice, queued: Watch, row: QueuedRow | None
) -> Decision:
    """Decide about a notice whose pair has a notice in the index.

    Args:
        notice: The new notice.
        queued: The watch of the earlier one.
        row: The earlier one's row as it stands in the mailbox; `None` if it is not
            queued any more.
    """
    if row is None:
        return NOT_QUEUED
    if not queued.complete:
        return UNWATCHED
    if queued.notice.sender_key != notice.sender_key:
        return NEW_KEY
    if queued.rearmed:
        return REARMED
    if not covers(queued.notice, notice):
        return SCOPE
    if row.device_list_id > queued.device_list_id:
        return DEVICE_CHANGED
    if row.kept_by_reader:
        return NEVER_ACKNOWLEDGED
    return DUPLICATE

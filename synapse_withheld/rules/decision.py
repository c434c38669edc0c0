"""What can become of a message that a rule names, and why, as metrics name it.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

import attrs


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

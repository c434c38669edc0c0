"""What can become of a message that a rule names, and why, as metrics name it."""

from __future__ import annotations

import attrs


@attrs.frozen
class Decision:
    action: str
    reason: str


# Store it as Synapse does.
DELIVER = "deliver"
FIRST = Decision(DELIVER, "first")  # no notice of the pair is known to be queued
UNKNOWN_DEVICE = Decision(DELIVER, "unknown_device")
NOT_REPEATED = Decision(DELIVER, "not_repeated")  # it does not say the same
READ = Decision(DELIVER, "read")  # the known one was handed out since it was stored
NOT_QUEUED = Decision(DELIVER, "not_queued")  # the known one is gone, or doomed
RELEASED = Decision(DELIVER, "released")  # something of its sender would overtake it
OVERDUE = Decision(DELIVER, "overdue")  # nobody answered in time
RESTING = Decision(DELIVER, "resting")  # nobody is asked after a failure
LIMIT = Decision(DELIVER, "limit")  # and it cannot be remembered
SPOOFED_SENDER = Decision(DELIVER, "spoofed_sender")
ALREADY_RECEIVED = Decision(DELIVER, "already_received")  # a repeated EDU: no row
FAILED = Decision(DELIVER, "failed")  # something of ours failed

# Store it, then delete the queued one.
SUPERSEDE = "supersede"
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

ALL = tuple(each for each in list(globals().values()) if isinstance(each, Decision))

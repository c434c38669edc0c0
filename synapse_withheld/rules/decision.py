"""What can become of a message that a rule names, and why, as metrics name it.

`operators/wording.py` says what each means. Of a notice the memory says first
(`Memory.believe`), and last whoever asks the database or stores it in `delivery`.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Decision:
    action: str
    reason: str


# Store it as Synapse does.
DELIVER = "deliver"
FIRST = Decision(DELIVER, "first")
UNKNOWN_DEVICE = Decision(DELIVER, "unknown_device")
NOT_REPEATED = Decision(DELIVER, "not_repeated")
READ = Decision(DELIVER, "read")
NOT_QUEUED = Decision(DELIVER, "not_queued")
RELEASED = Decision(DELIVER, "released")
OVERDUE = Decision(DELIVER, "overdue")
RESTING = Decision(DELIVER, "resting")
LIMIT = Decision(DELIVER, "limit")
SPOOFED_SENDER = Decision(DELIVER, "spoofed_sender")
ALREADY_RECEIVED = Decision(DELIVER, "already_received")
FAILED = Decision(DELIVER, "failed")

# Store it, then delete the queued one.
SUPERSEDE = "supersede"
NEW_KEY = Decision(SUPERSEDE, "new_key")
REARMED = Decision(SUPERSEDE, "rearmed")
SCOPE = Decision(SUPERSEDE, "scope")
DEVICE_CHANGED = Decision(SUPERSEDE, "device_changed")
NEVER_ACKNOWLEDGED = Decision(SUPERSEDE, "never_acknowledged")
WILDCARD = Decision(SUPERSEDE, "wildcard")
NEW_CODE = Decision(SUPERSEDE, "new_code")
REPEATED = Decision(SUPERSEDE, "repeated")
CANCELLED = Decision(SUPERSEDE, "cancelled")

# Do not store it.
COLLAPSE = "collapse"
DUPLICATE = Decision(COLLAPSE, "duplicate")
HELD = Decision(COLLAPSE, "held")

ALL = tuple(each for each in list(globals().values()) if isinstance(each, Decision))

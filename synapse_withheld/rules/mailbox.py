"""What all rooms call a mailbox and its rows."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import attrs

# (user ID, device ID) of the recipient.
MailboxKey = Tuple[str, str]

# In place of a device ID: all devices of the user.
WILDCARD = "*"


class Superseded(NamedTuple):
    """A queued row that a newer one of the same pair makes redundant."""

    mailbox: MailboxKey
    stream_id: int
    newer_stream_id: int


@attrs.frozen
class RowState:
    """What became of a row that was stored: still queued, or delivered.

    Attributes:
        queued: Whether the row is there. If not, its reader acknowledged it.
        device_list_id: The device list's stream ID of the device's last change, as
            far as it matters for the row; 0 if there is none.
        never_acknowledged: Whether its reader never acknowledges (dehydrated device).
    """

    queued: bool = True
    device_list_id: int = 0
    never_acknowledged: bool = False

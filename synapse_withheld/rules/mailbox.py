"""What all rooms call a mailbox, its rows, and what is remembered of them."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import attrs

# (user ID, device ID) of the recipient.
MailboxKey = Tuple[str, str]


@attrs.frozen
class Superseded:
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


class Remembered(NamedTuple):
    """What is remembered of the notice that a pair has queued.

    Attributes:
        same_key: Whether it has the key of the notice that is asked about.
        variant: Which of the things that such a message can say it says.
        rearmed: Whether an Olm message passed since it was about to be stored.
        watched_since_stored: Whether every Olm message since then has been seen.
        device_list_id: The position of the device list stream when it was stored.
        undelivered_s: When it was last known not to be delivered yet, in seconds of a
            clock that never goes back.
    """

    stream_id: int
    same_key: bool
    variant: int
    rearmed: bool
    watched_since_stored: bool
    device_list_id: int
    undelivered_s: float

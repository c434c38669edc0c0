"""What the index is asked with, and what it answers.

Nothing here knows of Synapse, SQL or time, and nothing awaits.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

import attrs

from synapse_withheld.mailbox import Mailbox
from synapse_withheld.notice import Notice

# (user ID, device ID) of the recipient.
MailboxKey = Tuple[str, str]


@attrs.frozen
class Superseded:
    """A queued row that a newer one of the same pair makes redundant."""

    mailbox: MailboxKey
    stream_id: int
    newer_stream_id: int


class Queued(NamedTuple):
    """What is remembered of the notice that a pair has queued.

    Attributes:
        same_key: Whether it has the key of the notice that is asked about.
        variant: Which of the things that such a message can say it says.
        rearmed: Whether an Olm message passed since it was about to be stored.
        complete: Whether every Olm message since it was stored has been seen.
        device_list_id: The position of the device list stream when it was stored.
        undelivered_s: When it was last known not to be delivered yet, in seconds of a
            clock that never goes back.
    """

    stream_id: int
    same_key: bool
    variant: int
    rearmed: bool
    complete: bool
    device_list_id: int
    undelivered_s: float


@attrs.frozen
class Occupant:
    """A remembered row that takes room in a mailbox, and the pair it is of."""

    mailbox: MailboxKey
    stream_id: int
    place: int
    check: int


@attrs.define(eq=False, weakref_slot=False)
class Watch:
    """One notice while it is stored: re-armed by what passes meanwhile.

    Attributes:
        olm_messages: How many Olm messages its link had counted when it began.
        started_in: The mailbox as it was remembered when it began.
        alone: Whether its row holds nothing else, so that it may be deleted.
        undelivered_s: When it was not delivered yet.
    """

    mailbox: MailboxKey
    notice: Notice
    device_list_id: int
    olm_messages: int
    started_in: Mailbox | None
    rearmed_directly: bool = False
    alone: bool = True
    undelivered_s: float = 0.0

    @property
    def sender(self) -> str:
        """Return who sends it."""
        return self.notice.pair.sender


class InFlight(Dict[Tuple[MailboxKey, str], List[Watch]]):
    """The notices that are being stored, by mailbox and sender."""

    def add(self, watch: Watch) -> None:
        """Begin a watch."""
        self.setdefault((watch.mailbox, watch.sender), []).append(watch)

    def remove(self, watch: Watch) -> None:
        """End a watch."""
        watches = self[watch.mailbox, watch.sender]
        watches.remove(watch)
        if not watches:
            del self[watch.mailbox, watch.sender]

    def all(self) -> list[Watch]:
        """Return all watches."""
        return [watch for watches in self.values() for watch in watches]

    def rearm(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Re-arm what a sender's device has in flight; return how many were not."""
        rearmed = 0
        for watch in self.get((key, sender), ()):
            if watch.notice.key == sender_key and not watch.rearmed_directly:
                watch.rearmed_directly = True
                rearmed += 1
        return rearmed


@attrs.frozen
class Limits:
    """How much the index may remember."""

    mailboxes: int
    pairs: int
    pairs_per_mailbox: int
    pairs_per_sender: int
    requests_per_sender: int

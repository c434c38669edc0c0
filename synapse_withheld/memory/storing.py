"""What the index is asked with, and what it answers.

Nothing here knows of Synapse, SQL or time, and nothing awaits.
"""

from __future__ import annotations

from typing import Dict, List, Tuple

import attrs

from synapse_withheld.memory.mailbox import Mailbox
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice


@attrs.frozen
class Occupant:
    """A remembered row that takes room in a mailbox, and the pair it is of."""

    mailbox: MailboxKey
    stream_id: int
    place: int
    check: int


@attrs.define(eq=False, weakref_slot=False)
class Storing:
    """One notice while it is stored: re-armed by what passes meanwhile.

    Attributes:
        olm_messages: How many Olm messages its link had counted when it began.
        started_in: The mailbox as it was remembered when it began.
        only_one_in_row: Whether its row holds nothing else, so that it may be deleted.
        undelivered_s: When it was not delivered yet.
    """

    mailbox: MailboxKey
    notice: Notice
    device_list_id: int
    olm_messages: int
    started_in: Mailbox | None
    rearmed_directly: bool = False
    only_one_in_row: bool = True
    undelivered_s: float = 0.0

    @property
    def sender(self) -> str:
        """Return who sends it."""
        return self.notice.pair.sender


class InFlight(Dict[Tuple[MailboxKey, str], List[Storing]]):
    """The notices that are being stored, by mailbox and sender."""

    def add(self, watch: Storing) -> None:
        """Begin a watch."""
        self.setdefault((watch.mailbox, watch.sender), []).append(watch)

    def remove(self, watch: Storing) -> None:
        """End a watch."""
        watches = self[watch.mailbox, watch.sender]
        watches.remove(watch)
        if not watches:
            del self[watch.mailbox, watch.sender]

    def all(self) -> list[Storing]:
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

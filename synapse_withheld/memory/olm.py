"""The Olm messages that passed, as numbers that only rise."""

from __future__ import annotations

from synapse_withheld.memory.in_flight import InFlight
from synapse_withheld.memory.tables.mailboxes import Mailboxes, Users
from synapse_withheld.memory.tables.records import REARMED_ALREADY, Record
from synapse_withheld.rules.mailbox import MailboxKey


class OlmMessages:
    """Which records were re-armed since they were sorted.

    Attributes:
        number: How many passed that re-armed anything. It never begins again, so that
            nothing that is old ever looks new.
    """

    def __init__(self, mailboxes: Mailboxes, users: Users, in_flight: InFlight) -> None:
        self.number = 0
        self._mailboxes = mailboxes
        self._users = users
        self._in_flight = in_flight

    def to_device(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Note one from a sender's device to a device; return how much it re-arms."""
        number = self.number + 1
        rearmed = self._in_flight.ends.rearm((key, sender, sender_key), number)
        mailbox = self._mailboxes.get(key)
        of_sender = None if mailbox is None else mailbox.sender(sender)
        if of_sender is not None:
            rearmed += of_sender.rearm(sender_key, number)
        if rearmed:
            self.number = number
        return rearmed

    def between_users(self, recipient: str, sender: str) -> int:
        """Note one that re-arms all between two users; return how much that is."""
        rearmed = self._users.rearm((recipient, sender), self.number + 1)
        if rearmed:
            self.number += 1
        return rearmed

    def passed_since(self, record: Record) -> bool:
        """Say whether one passed between the ends of a record since it was sorted."""
        key, sender = record.mailbox, record.sender
        if record.number == REARMED_ALREADY:
            return True
        if self._users.number((key[0], sender)) > record.number:
            return True
        mailbox = self._mailboxes.get(key)
        of_sender = None if mailbox is None else mailbox.sender(sender)
        return of_sender is not None and of_sender.is_rearmed(record)

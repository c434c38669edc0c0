"""The mailboxes that are remembered, within limits, with the links of their pairs.

Nothing here knows of Synapse, SQL or time, and nothing awaits.
"""

from __future__ import annotations

from collections import OrderedDict

from synapse_withheld.memory.links import LinksOfUsers
from synapse_withheld.memory.mailbox import (
    ONLY_ONE_IN_ROW,
    WATCHED_SINCE_STORED,
    Mailbox,
    Record,
)
from synapse_withheld.memory.storing import Limits
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Rule


class Mailboxes:
    """Every mailbox that is remembered, the least recently used first.

    Attributes:
        links: What passed between the keys of senders and recipient users.
        pairs: How many pairs all mailboxes have.
    """

    def __init__(self, limits: Limits, *, spoofs_possible: bool) -> None:
        """Start empty; the arguments are those of the index."""
        self.links = LinksOfUsers()
        self.pairs = 0
        self._limits = limits
        self._spoofs_possible = spoofs_possible
        self._read: OrderedDict[MailboxKey, Mailbox] = OrderedDict()
        # Mailboxes whose queued notices are being read. Apart, so that invented
        # devices push nothing out of the index.
        self._being_read: dict[MailboxKey, Mailbox] = {}

    def __len__(self) -> int:
        """Count the mailboxes that were read."""
        return len(self._read)

    def knows(self, key: MailboxKey) -> bool:
        """Say whether a mailbox was read, and mark it as used."""
        if key not in self._read:
            return False
        self._read.move_to_end(key)
        return True

    def read(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that was read."""
        return self._read.get(key)

    def any(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that was read or is being read."""
        return self._read.get(key) or self._being_read.get(key)

    def begin_reading(self, key: MailboxKey) -> Mailbox:
        """Return a mailbox to remember what is stored while it is read."""
        mailbox = self._being_read[key] = Mailbox()
        return mailbox

    def is_being_read(self, key: MailboxKey, mailbox: Mailbox) -> bool:
        """Say whether a mailbox was not forgotten since its reading began."""
        return self._being_read.get(key) is mailbox

    def end_reading(self, key: MailboxKey, mailbox: Mailbox) -> None:
        """Count a mailbox among those that were read."""
        del self._being_read[key]
        while len(self._read) >= self._limits.mailboxes:
            self.forget(next(iter(self._read)))
        self._read[key] = mailbox

    def fits(self, mailbox: Mailbox, place: int, rule: Rule) -> bool:
        """Say whether one more pair of the sender of a place may be remembered."""
        return (
            len(mailbox.beside(place)) < self.most_of_sender(rule)
            and mailbox.count < self._limits.pairs_per_mailbox
            and mailbox.count < self._limits.pairs
        )

    def most_of_sender(self, rule: Rule) -> int:
        """Return how many pairs of a rule one sender may have in a mailbox."""
        if rule.about_keys:
            return self._limits.pairs_per_sender
        return self._limits.requests_per_sender

    def add(
        self, key: MailboxKey, mailbox: Mailbox, new: Record, rule: Rule
    ) -> list[Superseded]:
        """Remember what a pair of a rule has queued; its link is held already.

        Returns:
            The row of the same pair that is redundant now, if one is known.
        """
        position = mailbox.find(new.place, new.check)
        if position is None:
            if self.fits(mailbox, new.place, rule):
                mailbox.insert(new)
                self.pairs += 1
                self._shrink(key)
            else:
                self.links.release(key[0], new.link)
            return []
        earlier = mailbox.record(position)
        older, newer = sorted((earlier, new), key=lambda each: each.stream_id)
        mailbox.put(position, newer)
        self.links.release(key[0], older.link)
        if older.stream_id == newer.stream_id:
            return []
        if not self._may_replace(older, newer, rule):
            return []
        return [Superseded(key, older.stream_id, newer.stream_id)]

    def remove(
        self, key: MailboxKey, place: int, check: int, stream_id: int | None = None
    ) -> None:
        """Forget a pair, if it is known.

        Args:
            key: The mailbox.
            place: With `check`: the fingerprint of the pair.
            check: The same.
            stream_id: Only if this is what it has queued.
        """
        mailbox = self._read.get(key)
        position = None if mailbox is None else mailbox.find(place, check)
        if mailbox is None or position is None:
            return
        known = mailbox.record(position)
        if stream_id in (None, known.stream_id):
            self.links.release(key[0], known.link)
            mailbox.remove(position)
            self.pairs -= 1

    def forget(self, key: MailboxKey) -> None:
        """Forget a mailbox: its next notice reads it again."""
        for mailboxes in (self._read, self._being_read):
            mailbox = mailboxes.pop(key, None)
            if mailbox is not None:
                self._release_all(key[0], mailbox)
                self.pairs -= mailbox.count

    def forget_user(self, user_id: str) -> None:
        """Forget all mailboxes of a user; walks all that are remembered."""
        for key in [*self._read, *self._being_read]:
            if key[0] == user_id:
                self.forget(key)

    def clear(self) -> None:
        """Forget everything, and the links of what is in flight too."""
        self._read.clear()
        self._being_read.clear()
        self.links.clear()
        self.pairs = 0

    def _release_all(self, user_id: str, mailbox: Mailbox) -> None:
        links = self.links.get(user_id)
        if links is not None and links.pairs == mailbox.count:
            # Nobody else holds any: most users have one device that is away.
            del self.links[user_id]
            return
        # From the end, where there is least behind that has to move.
        for position in reversed(range(mailbox.count)):
            self.links.release(user_id, mailbox.record(position).link)

    def _may_replace(self, older: Record, newer: Record, rule: Rule) -> bool:
        same_key = older.key == newer.key
        # Whoever sent a message of another rule, its newer one takes it back.
        doubtful = rule.about_keys and self._spoofs_possible
        return (
            older.has(ONLY_ONE_IN_ROW)
            and (older.has(WATCHED_SINCE_STORED) or not doubtful or same_key)
            and rule.supersedes(older.variant, newer.variant, same_key=same_key)
        )

    def _shrink(self, keep: MailboxKey) -> None:
        if keep in self._read:
            self._read.move_to_end(keep)
        while (
            self.pairs > self._limits.pairs
            and self._read
            and (oldest := next(iter(self._read))) != keep
        ):
            self.forget(oldest)

"""Remember which pairs have a queued notice, per mailbox.

A bounded cache of the mailboxes, checked against them before it is acted on:
whatever is forgotten here costs at most one more write per pair. Nothing here
knows of Synapse, SQL or time, and nothing awaits.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Iterable

from synapse_withheld.notice import Notice, Pair
from synapse_withheld.watch import (
    Limits,
    Link,
    Mailbox,
    MailboxKey,
    Superseded,
    Watch,
)


class Index:
    """Every mailbox that is remembered, the least recently used first."""

    def __init__(self, limits: Limits, *, spoofs_possible: bool) -> None:
        """Start empty.

        Args:
            limits: How much may be remembered.
            spoofs_possible: Whether rows that are found in a mailbox may name a
                sender who did not send them; then only an equal `sender_key`
                makes such a row redundant.
        """
        self._limits = limits
        self._spoofs_possible = spoofs_possible
        self._mailboxes: OrderedDict[MailboxKey, Mailbox] = OrderedDict()
        # Mailboxes whose queued notices are being read. Apart, so that invented
        # devices push nothing out of the index.
        self._being_read: dict[MailboxKey, Mailbox] = {}
        # By recipient user, sender and sender key.
        self._links: dict[tuple[str, str, str], Link] = {}
        self._in_flight: dict[tuple[MailboxKey, str], list[Watch]] = {}
        self.pairs = 0
        # How many watches ever began.
        self.begun = 0

    def __len__(self) -> int:
        """Count the mailboxes that are remembered."""
        return len(self._mailboxes)

    def knows(self, key: MailboxKey) -> bool:
        """Say whether a mailbox is remembered, and mark it as used."""
        if key not in self._mailboxes:
            return False
        self._mailboxes.move_to_end(key)
        return True

    def queued(self, key: MailboxKey, pair: Pair) -> Watch | None:
        """Return the watch of the notice that a pair has queued, if known."""
        mailbox = self._mailboxes.get(key)
        if mailbox is None:
            return None
        return mailbox.senders.get(pair.sender, {}).get(pair)

    def has_room(self, key: MailboxKey, pair: Pair) -> bool:
        """Say whether one more pair of this sender may be remembered here."""
        mailbox = self._get(key)
        if mailbox is None:
            return False
        of_sender = mailbox.senders.get(pair.sender, {})
        return pair in of_sender or (
            len(of_sender) < self._limits.pairs_per_sender
            and mailbox.pairs < self._limits.pairs_per_mailbox
            and mailbox.pairs < self._limits.pairs
        )

    def in_the_way_of(self, key: MailboxKey, pair: Pair) -> list[Watch]:
        """Return what takes the room that a pair does not have, oldest first.

        That is what its sender has in the mailbox, or where the sender has little,
        what everybody has.
        """
        mailbox = self._mailboxes.get(key)
        if mailbox is None or self.has_room(key, pair):
            return []
        of_sender = mailbox.senders.get(pair.sender, {})
        if len(of_sender) >= self._limits.pairs_per_sender:
            return list(of_sender.values())
        return [each for some in mailbox.senders.values() for each in some.values()]

    def begin_reading(self, key: MailboxKey) -> Mailbox:
        """Note what is stored in a mailbox while its queued notices are read."""
        mailbox = self._being_read[key] = Mailbox()
        return mailbox

    def end_reading(
        self,
        key: MailboxKey,
        mailbox: Mailbox,
        notices: Iterable[tuple[int, Notice]] | None,
    ) -> list[Superseded]:
        """Remember a mailbox and what was found there; nobody has watched that.

        Args:
            key: The mailbox that was read.
            mailbox: What `begin_reading` returned.
            notices: Stream ID and notice of what was found, newest first;
                `None` where no such device exists or the reading failed.

        Returns:
            The older rows of each pair, which its newest row makes redundant.
        """
        if self._being_read.get(key) is not mailbox:
            return []
        if notices is None:
            self.forget(key)
            return []
        del self._being_read[key]
        while len(self._mailboxes) >= self._limits.mailboxes:
            self.forget(next(iter(self._mailboxes)))
        self._mailboxes[key] = mailbox
        superseded = []
        for stream_id, notice in notices:
            watch = self._new_watch(key, notice, device_list_id=0)
            watch.stream_id, watch.complete = stream_id, False
            superseded += self._add(mailbox, watch)
        return superseded

    def drop(self, key: MailboxKey, pair: Pair) -> None:
        """Forget a pair whose notice is not queued any more."""
        mailbox = self._mailboxes[key]
        of_sender = mailbox.senders[pair.sender]
        self._release(of_sender.pop(pair))
        if not of_sender:
            del mailbox.senders[pair.sender]
        mailbox.pairs -= 1
        self.pairs -= 1

    def forget(self, key: MailboxKey) -> None:
        """Forget a mailbox: its next notice reads it again."""
        for mailboxes in (self._mailboxes, self._being_read):
            mailbox = mailboxes.pop(key, None)
            if mailbox is not None:
                for watches in mailbox.senders.values():
                    for watch in watches.values():
                        self._release(watch)
                self.pairs -= mailbox.pairs

    def forget_user(self, user_id: str) -> None:
        """Forget all mailboxes of a user; walks all that are remembered."""
        for key in [*self._mailboxes, *self._being_read]:
            if key[0] == user_id:
                self.forget(key)

    def clear(self) -> None:
        """Forget everything, for instance because some time was not watched."""
        for key in [*self._mailboxes, *self._being_read]:
            self.forget(key)

    def begin(self, key: MailboxKey, notice: Notice, device_list_id: int) -> Watch:
        """Watch a notice that is about to be stored; `settle` or `abandon` ends it."""
        watch = self._new_watch(key, notice, device_list_id)
        watch.started_in = self._get(key)
        self._in_flight.setdefault((key, notice.pair.sender), []).append(watch)
        return watch

    def settle(self, watch: Watch, stream_id: int) -> list[Superseded]:
        """Remember a notice that was stored at a position of the stream.

        Returns:
            The row of the same pair that it makes redundant, if one is known.
        """
        started_in = self._end(watch)
        watch.stream_id = stream_id
        mailbox = self._get(watch.mailbox)
        if mailbox is None:
            self._release(watch)
            return []
        # The mailbox was forgotten and read again meanwhile: what passed in
        # between may have been missed.
        watch.complete = mailbox is started_in
        return self._add(mailbox, watch)

    def abandon(self, watch: Watch) -> None:
        """End the watch of a notice that was not stored."""
        self._end(watch)
        self._release(watch)

    def rearm_device(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Note an Olm message from a sender's device to one device.

        Returns:
            How many pairs it re-armed.
        """
        rearmed = 0
        mailbox = self._get(key)
        if mailbox is not None and sender in mailbox.senders:
            rearmed += _rearm(mailbox.senders[sender].values(), sender_key)
        if self._in_flight:
            rearmed += _rearm(self._in_flight.get((key, sender), ()), sender_key)
        return rearmed

    def rearm_user(
        self, recipient: str, sender: str, sender_keys: Iterable[str]
    ) -> int:
        """Note an Olm message between a sender's key and any device of a user.

        Args:
            recipient: The user whose mailboxes hold the notices.
            sender: The user who sent the notices.
            sender_keys: The sender's keys at one end of the message.

        Returns:
            How many pairs it re-armed.
        """
        rearmed = 0
        for sender_key in sender_keys:
            link = self._links.get((recipient, sender, sender_key))
            if link is not None:
                link.olm_messages += 1
                rearmed += link.users
        return rearmed

    def _get(self, key: MailboxKey) -> Mailbox | None:
        return self._mailboxes.get(key) or self._being_read.get(key)

    def _new_watch(self, key: MailboxKey, notice: Notice, device_list_id: int) -> Watch:
        link = self._links.setdefault(_link_key(key, notice), Link())
        link.users += 1
        self.begun += 1
        return Watch(key, notice, device_list_id, link, link.olm_messages)

    def _end(self, watch: Watch) -> Mailbox | None:
        in_flight = (watch.mailbox, watch.notice.pair.sender)
        watches = self._in_flight[in_flight]
        watches.remove(watch)
        if not watches:
            del self._in_flight[in_flight]
        started_in, watch.started_in = watch.started_in, None
        return started_in

    def _release(self, watch: Watch) -> None:
        watch.link.users -= 1
        if watch.link.users == 0:
            del self._links[_link_key(watch.mailbox, watch.notice)]

    def _add(self, mailbox: Mailbox, watch: Watch) -> list[Superseded]:
        pair = watch.notice.pair
        of_sender = mailbox.senders.setdefault(pair.sender, {})
        earlier = of_sender.get(pair)
        if earlier is None:
            if not self.has_room(watch.mailbox, pair):
                if not of_sender:
                    del mailbox.senders[pair.sender]
                self._release(watch)
                return []
            of_sender[pair] = watch
            mailbox.pairs += 1
            self.pairs += 1
            self._shrink(watch.mailbox)
            return []
        older, newer = sorted((earlier, watch), key=lambda each: each.stream_id)
        of_sender[pair] = newer
        self._release(older)
        if older.stream_id == newer.stream_id or not self._may_replace(older, newer):
            return []
        return [Superseded(watch.mailbox, older.stream_id, newer.stream_id)]

    def _may_replace(self, older: Watch, newer: Watch) -> bool:
        return older.alone and (
            older.complete
            or not self._spoofs_possible
            or older.notice.sender_key == newer.notice.sender_key
        )

    def _shrink(self, keep: MailboxKey) -> None:
        if keep in self._mailboxes:
            self._mailboxes.move_to_end(keep)
        while (
            self.pairs > self._limits.pairs
            and self._mailboxes
            and (oldest := next(iter(self._mailboxes))) != keep
        ):
            self.forget(oldest)


def _link_key(key: MailboxKey, notice: Notice) -> tuple[str, str, str]:
    return (key[0], notice.pair.sender, notice.sender_key)


def _rearm(watches: Iterable[Watch], sender_key: str) -> int:
    rearmed = 0
    for watch in watches:
        if watch.notice.sender_key == sender_key and not watch.rearmed_directly:
            watch.rearmed_directly = True
            rearmed += 1
    return rearmed

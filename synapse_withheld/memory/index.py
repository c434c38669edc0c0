"""Remember which pairs have a queued notice, per mailbox.

A bounded cache of the mailboxes, checked against them before it is acted on:
whatever is forgotten here costs at most one more write per pair. Nothing here
knows of Synapse, SQL or time, and nothing awaits.
"""

from __future__ import annotations

from typing import Iterable

from synapse_withheld.memory.fingerprints import (
    Fingerprints,
    key_of,
    place_of,
    place_of_key,
    places_beside,
)
from synapse_withheld.memory.mailbox import (
    ONLY_ONE_IN_ROW,
    REARMED_DIRECTLY,
    WATCHED_SINCE_STORED,
    Mailbox,
    record,
)
from synapse_withheld.memory.mailboxes import Mailboxes
from synapse_withheld.memory.storing import InFlight, Limits, Occupant, Storing
from synapse_withheld.rules.mailbox import MailboxKey, Remembered, Superseded
from synapse_withheld.rules.notice import Notice


class Index:
    """What is queued, by mailbox and pair, and what passed since it was stored."""

    def __init__(self, limits: Limits, *, spoofs_possible: bool) -> None:
        """Start empty.

        Args:
            limits: How much may be remembered.
            spoofs_possible: Whether rows that are found in a mailbox may name a
                sender who did not send them; then only an equal key makes such a
                row redundant, where a rule is about keys.
        """
        self._fingerprints = Fingerprints()
        self._mailboxes = Mailboxes(limits, spoofs_possible=spoofs_possible)
        self._links = self._mailboxes.links
        self._in_flight = InFlight()
        # How many watches ever began.
        self.begun = 0

    def __len__(self) -> int:
        """Count the mailboxes that are remembered."""
        return len(self._mailboxes)

    @property
    def pairs(self) -> int:
        """Count the pairs that are remembered."""
        return self._mailboxes.pairs

    def knows(self, key: MailboxKey) -> bool:
        """Say whether a mailbox is remembered, and mark it as used."""
        return self._mailboxes.knows(key)

    def queued(self, key: MailboxKey, notice: Notice) -> Remembered | None:
        """Return what is known of the notice that this one's pair has queued."""
        mailbox = self._mailboxes.read(key)
        if mailbox is None:
            return None
        fingerprint = self._fingerprints.of(notice)
        position = mailbox.find(fingerprint.place, fingerprint.check)
        if position is None:
            return None
        known = mailbox.record(position)
        state = known.state
        return Remembered(
            known.stream_id,
            known.key == fingerprint.key,
            known.variant,
            bool(state & REARMED_DIRECTLY)
            or self._links[key[0]].passed_since(known.link, known.olm_messages),
            bool(state & WATCHED_SINCE_STORED),
            known.device_list_id,
            known.undelivered_s,
        )

    def has_room(self, key: MailboxKey, notice: Notice) -> bool:
        """Say whether the pair of a notice may be remembered here."""
        mailbox = self._mailboxes.any(key)
        if mailbox is None:
            return False
        fingerprint = self._fingerprints.of(notice)
        known = mailbox.find(fingerprint.place, fingerprint.check) is not None
        return known or self._mailboxes.fits(mailbox, fingerprint.place, notice.rule)

    def in_the_way_of(
        self, key: MailboxKey, notice: Notice, most: int
    ) -> list[Occupant]:
        """Return what takes the room that a notice's pair does not have, oldest first.

        That is what its sender has in the mailbox, or where the sender has little,
        what everybody has.

        Args:
            key: The mailbox.
            notice: The notice.
            most: How many are returned at most.
        """
        mailbox = self._mailboxes.read(key)
        if mailbox is None or self.has_room(key, notice):
            return []
        among = mailbox.beside(self._fingerprints.of(notice).place)
        if len(among) < self._mailboxes.most_of_sender(notice.rule):
            among = range(mailbox.count)
        return [
            Occupant(key, each.stream_id, each.place, each.check)
            for each in mailbox.oldest(among, most)
        ]

    def begin_reading(self, key: MailboxKey) -> Mailbox:
        """Note what is stored in a mailbox while its queued notices are read."""
        return self._mailboxes.begin_reading(key)

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
        if not self._mailboxes.is_being_read(key, mailbox):
            return []
        if notices is None:
            self.forget(key)
            return []
        self._mailboxes.end_reading(key, mailbox)
        superseded = []
        for stream_id, notice in notices:
            found = record(
                self._fingerprints.of(notice),
                stream_id,
                flags=ONLY_ONE_IN_ROW,
                variant=notice.variant,
                olm_messages=self._hold(key, notice),
            )
            superseded += self._mailboxes.add(key, mailbox, found, notice.rule)
        return superseded

    def note_undelivered(self, key: MailboxKey, notice: Notice, seconds: float) -> None:
        """Note when what the pair of a notice has queued was seen to be queued."""
        mailbox = self._mailboxes.read(key)
        fingerprint = self._fingerprints.of(notice)
        if mailbox is not None:
            position = mailbox.find(fingerprint.place, fingerprint.check)
            if position is not None:
                mailbox.note_undelivered(position, seconds)

    def drop(self, key: MailboxKey, notice: Notice) -> None:
        """Forget the pair of a notice, which has none queued any more."""
        fingerprint = self._fingerprints.of(notice)
        self._mailboxes.remove(key, fingerprint.place, fingerprint.check)

    def drop_occupant(self, gone: Occupant) -> None:
        """Forget a pair whose row is gone, unless it has another one by now."""
        self._mailboxes.remove(gone.mailbox, gone.place, gone.check, gone.stream_id)

    def forget(self, key: MailboxKey) -> None:
        """Forget a mailbox: its next notice reads it again."""
        self._mailboxes.forget(key)

    def forget_user(self, user_id: str) -> None:
        """Forget all mailboxes of a user; walks all that are remembered."""
        self._mailboxes.forget_user(user_id)

    def clear(self) -> None:
        """Forget everything, for instance because some time was not watched."""
        self._mailboxes.clear()
        for watch in self._in_flight.all():
            watch.olm_messages = self._hold(watch.mailbox, watch.notice)

    def begin(self, key: MailboxKey, notice: Notice, device_list_id: int) -> Storing:
        """Begin to store a notice; `settle` or `abandon` ends it."""
        self.begun += 1
        started_in = self._mailboxes.any(key)
        olm_messages = self._hold(key, notice)
        watch = Storing(key, notice, device_list_id, olm_messages, started_in)
        self._in_flight.add(watch)
        return watch

    def settle(self, watch: Storing, stream_id: int) -> list[Superseded]:
        """Remember a notice that was stored at a position of the stream.

        Returns:
            The row of the same pair that it makes redundant, if one is known.
        """
        mailbox = self._mailboxes.any(watch.mailbox)
        if mailbox is None:
            self.abandon(watch)
            return []
        self._in_flight.remove(watch)
        # If the mailbox was forgotten and read again meanwhile, what passed in
        # between may have been missed.
        watched_since_stored = mailbox is watch.started_in
        stored = record(
            self._fingerprints.of(watch.notice),
            stream_id,
            flags=WATCHED_SINCE_STORED * watched_since_stored
            | ONLY_ONE_IN_ROW * watch.only_one_in_row
            | REARMED_DIRECTLY * watch.rearmed_directly,
            variant=watch.notice.variant,
            olm_messages=watch.olm_messages,
            device_list_id=watch.device_list_id,
            undelivered_s=watch.undelivered_s,
        )
        return self._mailboxes.add(watch.mailbox, mailbox, stored, watch.notice.rule)

    def abandon(self, watch: Storing) -> None:
        """End the watch of a notice that was not stored."""
        self._in_flight.remove(watch)
        self._links.release(watch.mailbox[0], self._link(watch.notice))

    def rearm_device(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Note an Olm message from a sender's device to one device.

        Returns:
            How many pairs it re-armed.
        """
        rearmed = 0
        mailbox = self._mailboxes.any(key)
        if mailbox is not None:
            rearmed = mailbox.rearm(place_of(sender), key_of(sender, sender_key))
        if self._in_flight:
            rearmed += self._in_flight.rearm(key, sender, sender_key)
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
        links = self._links.get(recipient)
        if links is None:
            return 0
        place = place_of(sender)
        if not links.any_at(places_beside(place)):
            return 0
        return sum(
            links.count_message(place_of_key(place, key_of(sender, each)))
            for each in sender_keys
        )

    def _hold(self, key: MailboxKey, notice: Notice) -> int:
        return self._links.hold(key[0], self._link(notice))

    def _link(self, notice: Notice) -> int:
        fingerprint = self._fingerprints.of(notice)
        return place_of_key(fingerprint.place, fingerprint.key)

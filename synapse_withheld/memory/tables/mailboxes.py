"""The mailboxes that are remembered, their rows, and what makes way for what."""

from __future__ import annotations

from collections import OrderedDict
from typing import Callable, Collection, Dict, Sequence, Tuple

from synapse_withheld.memory.tables.asked import Asked
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.records import (
    Between,
    ByAge,
    Record,
    insert_into,
    remove_from,
)
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.redundant import Row, redundant

# How many records of the least recently used mailbox are forgotten at once: all at once
# would hold up everybody where there are many.
_SOME = 100


class Mailboxes:
    """Records by mailbox, within limits.

    Attributes:
        pairs: How many records there are.
    """

    def __init__(
        self,
        limits: Limits,
        who_of: Callable[[str, str], str],
        position: Callable[[], int] | None,
    ) -> None:
        """Start empty.

        Args:
            limits: How much may be remembered.
            who_of: Says whose room what was found in the database takes, given its
                sender and the recipient user.
            position: Tells the position up to which readers see the stream; `None`
                where no cancellation vanishes, as where reads are not seen.
        """
        self.pairs = 0
        self._limits = limits
        self._who_of = who_of
        self._position = position
        # A recipient and a sender: how much there is, remembered or in flight.
        self._users: Between[Tuple[str, str]] = Between()
        # The least recently used first.
        self._mailboxes: OrderedDict[MailboxKey, Mailbox] = OrderedDict()
        self._devices: Dict[str, Dict[str, None]] = {}
        self._of_who: Dict[str, ByAge] = {}

    def __len__(self) -> int:
        return len(self._mailboxes)

    def peek(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that is remembered."""
        return self._mailboxes.get(key)

    def get(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that is remembered, and mark it as used."""
        mailbox = self._mailboxes.get(key)
        if mailbox is not None:
            self._mailboxes.move_to_end(key)
        return mailbox

    def open(self, key: MailboxKey, handed_out: int) -> Mailbox:
        """Return a mailbox, and remember it from now on.

        Its device may have been handed messages up to the stream ID `handed_out`.
        """
        mailbox = self.get(key)
        if mailbox is None:
            mailbox = self._mailboxes[key] = Mailbox(key, handed_out)
            self._devices.setdefault(key[0], {})[key[1]] = None
            if len(self._mailboxes) > self._limits.mailboxes:
                self._forget_some()
        return mailbox

    def devices_of(self, user_id: str) -> list[str]:
        """Return the devices of a user whose mailboxes are remembered."""
        return list(self._devices.get(user_id, ()))

    def forget(self, key: MailboxKey) -> None:
        """Forget a mailbox: it will be opened and learned again."""
        mailbox = self._mailboxes.pop(key, None)
        if mailbox is not None:
            # What is in it is not taken out one by one: nobody looks there any more.
            for record in mailbox:
                self._release(record)
            user_id, device_id = key
            del self._devices[user_id][device_id]
            if not self._devices[user_id]:
                del self._devices[user_id]

    def clear(self) -> None:
        """Forget everything; nobody is told of it."""
        self._mailboxes.clear()
        self._devices.clear()
        self._of_who.clear()
        self._users = Between()
        self.pairs = 0

    def insert(self, mailbox: Mailbox, record: Record) -> None:
        """Remember a record, and forget what is beyond the limits then."""
        mailbox.insert(record, self._limits)
        self._users.add((mailbox.key[0], record.sender))
        insert_into(self._of_who, record.who, record)
        self.pairs += 1
        beyond = mailbox.beyond_limits(record, self._limits)
        if beyond is not None:
            self._lose(mailbox, beyond)
        of_who = self._of_who.get(record.who, [])
        if len(of_who) > self._limits.of_who:
            oldest = of_who[0]
            crowded = self._mailboxes[oldest.mailbox]
            self._lose(crowded, oldest)
            if not len(crowded) and crowded is not mailbox:
                # Whoever names many devices would keep it, and push out others'.
                self.forget(crowded.key)
        while self.pairs > self._limits.max_pairs:
            self._forget_some()

    def remove(self, mailbox: Mailbox, record: Record) -> None:
        mailbox.remove(record)
        self._release(record)

    def place(self, mailbox: Mailbox, record: Record) -> list[Superseded]:
        """Remember a row that was seen being stored; return what is redundant now."""
        known = {each.stream_id: each for each in mailbox.of_pair(record.notice)}
        if not known:
            # As it is for most.
            self.insert(mailbox, record)
            return []
        found = known.pop(record.stream_id, None)
        if found is not None:
            # It was learned before it was settled.
            self.remove(mailbox, found)
        return self._place(mailbox, known, [record])

    def place_found(
        self, mailbox: Mailbox, rows: Sequence[Row], newest_id: int
    ) -> list[Superseded]:
        """Remember rows that were found in the database; return what is redundant.

        The newest stream ID is that of the mailbox, whatever it holds.
        """
        key = mailbox.key
        pairs = {row.notice.pair_of_rule: row.notice for row in rows}
        known = {
            record.stream_id: record
            for notice in pairs.values()
            for record in mailbox.of_pair(notice)
        }
        # Of what was seen being stored, more is known than what was found.
        new = []
        for stream_id, notice, *_ in rows:
            if stream_id not in known:
                who = self._who_of(notice.pair.sender, key[0])
                new.append(Record(stream_id, notice, key, who))
        stale = {row.stream_id for row in rows if row.stale}
        return self._place(mailbox, known, new, newest_id, stale)

    def _place(
        self,
        mailbox: Mailbox,
        known: Dict[int, Record],
        new: list[Record],
        newest_id: int = 0,
        stale: Collection[int] = (),
    ) -> list[Superseded]:
        """Remember new rows of some pairs, of which all others are known.

        What is redundant is forgotten; what of it may be deleted is returned.
        """
        superseded = []
        left = {each.stream_id: each for each in new}
        together = {**known, **left}
        rows = [
            Row(each, record.notice, record.seen_arriving, each in stale)
            for each, record in sorted(together.items())
        ]
        for older, newer in redundant(rows, max([newest_id, *together])):
            record = together[older]
            if left.pop(older, None) is None:
                self.remove(mailbox, record)
            if record.only_one_in_row:
                superseded.append(Superseded(mailbox.key, older, newer))
            if self._position is not None and record.notice.rule.vanishes:
                asked = mailbox.asked = mailbox.asked or Asked()
                asked.note_redundant(older, record.notice)
        for record in sorted(left.values()):
            self.insert(mailbox, record)
        return superseded

    def _forget_some(self) -> None:
        """Forget some of what is in the least recently used mailbox, or all."""
        mailbox = next(iter(self._mailboxes.values()))
        for record in mailbox.some(_SOME):
            self._lose(mailbox, record)
        if not len(mailbox):
            self.forget(mailbox.key)

    def _lose(self, mailbox: Mailbox, record: Record) -> None:
        """Forget a record whose row may be queued: what the mailbox holds is open."""
        mailbox.doubt()
        self.remove(mailbox, record)
        notice = record.notice
        if self._position is not None and notice.rule.vanishes:
            asked = mailbox.asked = mailbox.asked or Asked()
            # Not the mailbox's own number: who asks for much would have everybody's
            # notices count as read.
            asked.unsure_up_to = max(asked.unsure_up_to, self._position())
            if not mailbox.of_pair(notice):
                asked.forget(notice.pair)

    def _release(self, record: Record) -> None:
        remove_from(self._of_who, record.who, record)
        self._users.remove((record.mailbox[0], record.sender))
        self.pairs -= 1

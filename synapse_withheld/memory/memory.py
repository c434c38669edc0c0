"""What is known to be queued, and what passed since it was sorted.

A bounded cache of the mailboxes of one queue, checked against them before it is acted
on. What is forgotten here costs at most one more write per pair. Every call takes a
constant or logarithmic number of steps, but for those that forget a mailbox or learn a
page of one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Callable, Dict, Iterable, Sequence

from synapse_withheld.memory.belief import Belief, believe
from synapse_withheld.memory.in_flight import InFlight, Storing
from synapse_withheld.memory.limits import Limits
from synapse_withheld.memory.mailbox import Mailbox
from synapse_withheld.memory.records import (
    REARMED_ALREADY,
    ByAge,
    Record,
    insert,
    remove,
)
from synapse_withheld.memory.users import Users
from synapse_withheld.rules import decision
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row, redundant

__all__ = ["Belief", "Limits", "Mailbox", "Memory", "Record", "Storing"]

# How many records of the least recently used mailbox are forgotten at once.
_SOME = 100


class Memory:
    """The rows of one queue that are remembered.

    Attributes:
        pairs: How many there are.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        sees_reads: bool,
        hold_s: float | None,
        who_of: Callable[[str], str] = str,
    ) -> None:
        """Start empty.

        Args:
            limits: How much may be remembered.
            sees_reads: Whether all reads of mailboxes pass `note_read`.
            hold_s: How long one that was delivered stands for later ones; `None` where
                it does not.
            who_of: Says whose room what was found in the database takes, given its
                sender.
        """
        self.pairs = 0
        self._limits = limits
        self._sees_reads = sees_reads
        self._hold_s = hold_s
        self._who_of = who_of
        # The least recently used first.
        self._mailboxes: OrderedDict[MailboxKey, Mailbox] = OrderedDict()
        self._users = Users()
        self._of_who: Dict[str, ByAge] = {}
        self._in_flight = InFlight()
        # How many Olm messages passed between ends of anything. It never begins again,
        # so that nothing that is old ever looks new.
        self._number = 0

    def __len__(self) -> int:
        return len(self._mailboxes)

    def get(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that is remembered, and mark it as used."""
        mailbox = self._mailboxes.get(key)
        if mailbox is not None:
            self._mailboxes.move_to_end(key)
        return mailbox

    def open(self, key: MailboxKey, handed_out: int) -> Mailbox:
        """Return a mailbox, and remember it from now on.

        Args:
            key: The mailbox.
            handed_out: Up to which stream ID its device may have been handed messages,
                where it was not remembered.
        """
        mailbox = self.get(key)
        if mailbox is None:
            mailbox = self._mailboxes[key] = Mailbox(key, handed_out)
            self._users.add_device(key)
            if len(self._mailboxes) > self._limits.mailboxes:
                self._forget_some()
        return mailbox

    def devices_of(self, user_id: str) -> list[str]:
        """Return the devices of a user whose mailboxes are remembered."""
        return list(self._users.devices(user_id))

    def believe(self, key: MailboxKey, notice: Notice, now_s: float) -> Belief:
        """Say whether a new notice is believed to be a duplicate of a queued one.

        With a hold, also of one whose row may be gone.
        """
        if self._in_flight.says_otherwise(key, notice):
            return Belief(decision.NOT_REPEATED)
        mailbox = self._mailboxes.get(key)
        of_pair = [] if mailbox is None else mailbox.of_pair(notice)
        if mailbox is None or not of_pair:
            return Belief(decision.FIRST)
        handed_out = mailbox.handed_out if self._sees_reads else 0
        return believe(
            notice,
            of_pair,
            self._is_rearmed,
            lambda record: (
                record.stream_id <= handed_out and not self._is_held(record, now_s)
            ),
        )

    def begin(
        self,
        key: MailboxKey,
        notice: Notice,
        who: str,
        device_list_id: int,
        now_s: float,
    ) -> Storing:
        """Note that a notice is in flight; `settle` or `abandon` ends that."""
        opened = self._mailboxes.get(key)
        storing = Storing(
            key if opened is None else opened.key,
            notice,
            who,
            device_list_id,
            opened,
            self._number,
            now_s,
        )
        self._in_flight.add(storing)
        self._users.hold(key[0], storing.sender)
        return storing

    def settle(
        self, storing: Storing, stream_id: int, *, only_one_in_row: bool = True
    ) -> list[Superseded]:
        """Remember a notice that was stored.

        Args:
            storing: What `begin` returned.
            stream_id: Where it was stored.
            only_one_in_row: Whether its row holds nothing else.

        Returns:
            The rows of its pair that are redundant now.
        """
        if storing.is_over:
            return []
        mailbox = self.get(storing.mailbox)
        superseded: list[Superseded] = []
        if mailbox is None or mailbox is not storing.opened:
            storing.is_lost = True
            self._doubt(mailbox, storing.notice)
        else:
            record = Record(
                stream_id,
                storing.notice,
                mailbox.key,
                storing.who,
                REARMED_ALREADY
                if self._in_flight.is_rearmed(storing)
                else storing.number,
                True,
                only_one_in_row,
                storing.device_list_id,
                storing.began_s,
            )
            superseded = self._settle(mailbox, record)
        self.abandon(storing)
        return superseded

    def abandon(self, storing: Storing) -> None:
        """Note that a notice was not stored; nothing if it was settled."""
        if not storing.is_over:
            storing.is_over = True
            self._in_flight.remove(storing)
            self._users.release(storing.mailbox[0], storing.sender)

    def confirmed(self, record: Record, now_s: float) -> None:
        """Note that a row was seen to be queued."""
        record.queued_s = max(record.queued_s, now_s)

    def drop(self, key: MailboxKey, record: Record) -> None:
        """Forget a record whose row is gone."""
        mailbox = self._mailboxes.get(key)
        if mailbox is not None and record in mailbox.of_pair(record.notice):
            self._remove(mailbox, record)

    def learn(
        self,
        key: MailboxKey,
        mailbox: Mailbox,
        rows: Sequence[Row],
        newest_id: int,
        *,
        last: bool,
    ) -> list[Superseded]:
        """Remember what was found in the database.

        Args:
            key: The mailbox.
            mailbox: What was open when it was looked at; otherwise nothing happens.
            rows: The notices of one page; the newest page comes first.
            newest_id: The newest stream ID of the mailbox, whatever it holds.
            last: Whether nothing older is left.

        Returns:
            The rows that are redundant.
        """
        if self.get(key) is not mailbox:
            return []
        known = self._known_of_pairs(mailbox, rows)
        found = {row.stream_id: row for row in rows}
        stale = {row.stream_id for row in rows if row.stale}
        # Of what was seen being stored, more is known than what was found.
        for record in known.values():
            found[record.stream_id] = _row(record, stale=record.stream_id in stale)
        goes = redundant(
            [found[each] for each in sorted(found)], max(newest_id, *found, 0)
        )
        superseded = self._remove_redundant(mailbox, goes, known)
        gone = {older for older, _ in goes}
        # What is beyond the limits are the oldest.
        for stream_id in sorted(found.keys() - known.keys() - gone, reverse=True):
            self._insert(mailbox, self._found(mailbox, found[stream_id]))
        mailbox.learned = last or mailbox.learned
        return superseded

    def forget(self, key: MailboxKey) -> None:
        """Forget a mailbox: it will be opened and learned again."""
        mailbox = self._mailboxes.get(key)
        if mailbox is not None:
            for record in list(mailbox):
                self._remove(mailbox, record)
            del self._mailboxes[key]
            self._users.remove_device(key)

    def clear(self) -> None:
        """Forget everything, as when something that happened was missed."""
        self._mailboxes.clear()
        self._of_who.clear()
        self.pairs = 0
        self._users = Users()
        for storing in self._in_flight:
            self._users.hold(storing.mailbox[0], storing.sender)

    def note_read(self, user_id: str, device_id: str, up_to: int) -> None:
        """Note that a device begins to read its mailbox up to a stream ID."""
        mailbox = self._mailboxes.get((user_id, device_id))
        if mailbox is not None:
            mailbox.handed_out = max(mailbox.handed_out, up_to)

    def rearm_device(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Note an Olm message from a sender's device to one device.

        Returns:
            How many rows and notices in flight it re-arms.
        """
        number = self._number + 1
        mailbox = self._mailboxes.get(key)
        of_sender = None if mailbox is None else mailbox.sender(sender)
        rearmed = self._in_flight.rearm(key, sender, sender_key, number)
        if of_sender is not None:
            rearmed += of_sender.rearm(sender_key, number)
        if rearmed:
            self._number = number
        return rearmed

    def rearm_users(self, recipient_user: str, sender_user: str) -> int:
        """Note an Olm message that re-arms all between two users.

        Returns:
            How many rows and notices in flight it re-arms.
        """
        rearmed = self._users.rearm(recipient_user, sender_user, self._number + 1)
        if rearmed:
            self._number += 1
        return rearmed

    def _is_rearmed(self, record: Record) -> bool:
        if record.number == REARMED_ALREADY:
            return True
        sender = record.sender
        if self._users.rearmed(record.mailbox[0], sender) > record.number:
            return True
        of_sender = self._mailboxes[record.mailbox].sender(sender)
        return of_sender is not None and of_sender.is_rearmed(record)

    def _is_held(self, record: Record, now_s: float) -> bool:
        """Say whether a row stands for later ones even if it was delivered."""
        return (
            self._hold_s is not None
            and record.notice.rule.once_per_session
            and now_s - record.queued_s <= self._hold_s
        )

    def _doubt(self, mailbox: Mailbox | None, notice: Notice) -> None:
        """Believe nothing of a pair of which something unknown was stored."""
        if mailbox is not None:
            mailbox.learned = False
            for record in mailbox.of_pair(notice):
                record.number = REARMED_ALREADY

    def _settle(self, mailbox: Mailbox, record: Record) -> list[Superseded]:
        known = {each.stream_id: each for each in mailbox.of_pair(record.notice)}
        found = known.get(record.stream_id)
        if found is not None:
            # It was learned before it was settled.
            self._remove(mailbox, found)
        known[record.stream_id] = record
        self._insert_only(mailbox, record)
        rows = [_row(known[each]) for each in sorted(known)]
        goes = redundant(rows, rows[-1].stream_id)
        superseded = self._remove_redundant(mailbox, goes, known)
        if all(older != record.stream_id for older, _ in goes):
            self._make_room(mailbox, record)
        return superseded

    def _known_of_pairs(
        self, mailbox: Mailbox, rows: Iterable[Row]
    ) -> dict[int, Record]:
        pairs = {(row.notice.rule.name, row.notice.pair): row.notice for row in rows}
        return {
            record.stream_id: record
            for notice in pairs.values()
            for record in mailbox.of_pair(notice)
        }

    def _found(self, mailbox: Mailbox, row: Row) -> Record:
        who = self._who_of(row.notice.pair.sender)
        return Record(row.stream_id, row.notice, mailbox.key, who, self._number)

    def _remove_redundant(
        self,
        mailbox: Mailbox,
        goes: Iterable[tuple[int, int]],
        known: dict[int, Record],
    ) -> list[Superseded]:
        superseded = []
        for older, newer in goes:
            record = known.get(older)
            if record is not None:
                self._remove(mailbox, record)
            if record is None or record.only_one_in_row:
                superseded.append(Superseded(mailbox.key, older, newer))
        return superseded

    def _insert(self, mailbox: Mailbox, record: Record) -> None:
        self._insert_only(mailbox, record)
        self._make_room(mailbox, record)

    def _insert_only(self, mailbox: Mailbox, record: Record) -> None:
        mailbox.insert(record, self._limits)
        self._users.hold(mailbox.key[0], record.sender)
        insert(self._of_who.setdefault(record.who, []), record)
        self.pairs += 1

    def _make_room(self, mailbox: Mailbox, record: Record) -> None:
        beyond = mailbox.beyond_limits(record, self._limits)
        if beyond is not None:
            self._lose(mailbox, beyond)
        of_who = self._of_who.get(record.who, [])
        if len(of_who) > self._limits.of_who:
            self._lose(self._mailboxes[of_who[0].mailbox], of_who[0])
        while self.pairs > self._limits.max_pairs:
            self._forget_some()

    def _forget_some(self) -> None:
        """Forget some of what is in the least recently used mailbox, or all."""
        mailbox = next(iter(self._mailboxes.values()))
        for record in mailbox.some(_SOME):
            self._lose(mailbox, record)
        if not len(mailbox):
            self.forget(mailbox.key)

    def _lose(self, mailbox: Mailbox, record: Record) -> None:
        """Forget a record whose row is still queued."""
        mailbox.learned = False
        self._remove(mailbox, record)

    def _remove(self, mailbox: Mailbox, record: Record) -> None:
        mailbox.remove(record)
        of_who = self._of_who[record.who]
        remove(of_who, record)
        if not of_who:
            del self._of_who[record.who]
        self._users.release(mailbox.key[0], record.sender)
        self.pairs -= 1


def _row(record: Record, *, stale: bool = False) -> Row:
    return Row(record.stream_id, record.notice, record.seen_arriving, stale)

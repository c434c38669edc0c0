"""What is known to be queued, and what passed since it was sorted.

A bounded cache of the mailboxes of one queue, checked against them before it is acted
on. What is forgotten here costs at most one more write per pair. Every call takes a
constant or logarithmic number of steps, but for those that forget a mailbox or learn a
page of one.
"""

from __future__ import annotations

from typing import Callable, Sequence

from synapse_withheld.memory.belief import Belief, says_it, why_stored
from synapse_withheld.memory.in_flight import InFlight, Storing
from synapse_withheld.memory.olm import OlmMessages
from synapse_withheld.memory.placing import learn, settle
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.mailboxes import Mailboxes, Users
from synapse_withheld.memory.tables.records import REARMED_ALREADY, Record
from synapse_withheld.memory.vanishing import Vanishing
from synapse_withheld.rules import decision
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row

__all__ = ["Belief", "Limits", "Mailbox", "Memory", "Record", "Storing"]


class Memory:
    """The rows of one queue that are remembered.

    Attributes:
        vanishing: The cancellations that are redundant.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        sees_reads: bool,
        hold_s: float | None,
        who_of: Callable[[str, str], str] = lambda sender, _: sender,
        position: Callable[[], int] | None = None,
    ) -> None:
        """Start empty.

        Args:
            limits: How much may be remembered.
            sees_reads: Whether all reads of mailboxes pass `note_read`.
            hold_s: How long one that was delivered stands for later ones; `None` where
                it does not.
            who_of: Says whose room what was found in the database takes, given its
                sender and the recipient user.
            position: Tells the position up to which readers see the stream; `None`
                where no cancellation vanishes, as where reads are not seen.
        """
        self._sees_reads = sees_reads
        self._hold_s = hold_s
        self._who_of = who_of
        self._users = Users()
        self._mailboxes = Mailboxes(limits, self._users, position)
        self._in_flight = InFlight()
        self._olm = OlmMessages(self._mailboxes, self._users, self._in_flight)
        self.vanishing = Vanishing(self._mailboxes, self._in_flight)

    def __len__(self) -> int:
        return len(self._mailboxes)

    @property
    def pairs(self) -> int:
        """Return how many rows are remembered."""
        return self._mailboxes.pairs

    def get(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that is remembered, and mark it as used."""
        return self._mailboxes.use(key)

    def peek(self, key: MailboxKey) -> Mailbox | None:
        """Return a mailbox that is remembered."""
        return self._mailboxes.get(key)

    def open(self, key: MailboxKey, handed_out: int) -> Mailbox:
        """Return a mailbox, and remember it from now on.

        Its device may have been handed messages up to the stream ID `handed_out`.
        """
        return self._mailboxes.open(key, handed_out)

    def devices_of(self, user_id: str) -> list[str]:
        """Return the devices of a user whose mailboxes are remembered."""
        return self._mailboxes.devices_of(user_id)

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
        record = says_it(notice, of_pair)
        if record is None:
            return Belief(why_stored(notice, of_pair))
        if self._olm.passed_since(record):
            return Belief(decision.REARMED)
        is_read = self._sees_reads and record.stream_id <= mailbox.handed_out
        if is_read and not self.is_held(record, now_s):
            return Belief(decision.READ)
        return Belief(decision.DUPLICATE, record)

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
        # One object for all of a mailbox takes less room.
        key = key if opened is None else opened.key
        number = self._olm.number
        storing = Storing(key, notice, who, device_list_id, opened, number, now_s)
        self._in_flight.add(storing)
        self._users.add((key[0], storing.sender))
        return storing

    def settle(
        self, storing: Storing, stream_id: int, *, only_one_in_row: bool = True
    ) -> list[Superseded]:
        """Remember a notice that was stored; return what is redundant now."""
        if storing.is_over:
            return []
        mailbox = self.get(storing.mailbox)
        superseded: list[Superseded] = []
        if mailbox is None or mailbox is not storing.opened:
            storing.is_lost = True
            if mailbox is not None:
                _doubt(mailbox, storing.notice)
        else:
            record = self._stored(storing, stream_id, only_one_in_row=only_one_in_row)
            superseded = settle(self._mailboxes, mailbox, record)
        # Last, so that what passed meanwhile is not forgotten.
        self.abandon(storing)
        return superseded

    def abandon(self, storing: Storing) -> None:
        """Note that a notice was not stored; nothing if it was settled."""
        if not storing.is_over:
            storing.is_over = True
            self._in_flight.remove(storing)
            self._users.remove((storing.mailbox[0], storing.sender))

    def confirmed(self, record: Record, now_s: float) -> None:
        """Note that a row was seen to be queued."""
        record.queued_s = max(record.queued_s, now_s)

    def is_held(self, record: Record, now_s: float) -> bool:
        """Say whether a row stands for later ones even if it was delivered."""
        return (
            self._hold_s is not None
            and record.notice.rule.once_per_session
            and now_s - record.queued_s <= self._hold_s
        )

    def drop(self, key: MailboxKey, record: Record) -> None:
        """Forget a record whose row is gone."""
        mailbox = self._mailboxes.get(key)
        if mailbox is not None and record in mailbox.of_pair(record.notice):
            self._mailboxes.remove(mailbox, record)

    def learn(
        self,
        key: MailboxKey,
        mailbox: Mailbox,
        rows: Sequence[Row],
        newest_id: int,
        *,
        last: bool,
    ) -> list[Superseded]:
        """Remember what was found in the database; return what is redundant.

        Args:
            key: Of which mailbox.
            mailbox: What was open when it was looked at; otherwise nothing happens.
            rows: The notices of one page; the newest page comes first.
            newest_id: The newest stream ID of the mailbox, whatever it holds.
            last: Whether nothing older is left, and nothing was doubted meanwhile.
        """
        if self.get(key) is not mailbox:
            return []
        # Before it is doubted, where not all of it finds room.
        mailbox.learned = last or mailbox.learned

        def found(row: Row) -> Record:
            who = self._who_of(row.notice.pair.sender, key[0])
            number = self._olm.number
            return Record(row.stream_id, row.notice, mailbox.key, who, number)

        return learn(self._mailboxes, mailbox, rows, newest_id, found)

    def forget(self, key: MailboxKey) -> None:
        """Forget a mailbox: it will be opened and learned again."""
        self._mailboxes.forget(key)

    def clear(self) -> None:
        """Forget everything, as when something that happened was missed."""
        self._mailboxes.clear()
        self._users.clear()
        for storing in self._in_flight:
            self._users.add((storing.mailbox[0], storing.sender))

    def note_read(self, user_id: str, device_id: str, up_to: int) -> None:
        """Note that a device begins to read its mailbox up to a stream ID."""
        mailbox = self._mailboxes.get((user_id, device_id))
        if mailbox is not None:
            mailbox.handed_out = max(mailbox.handed_out, up_to)

    def rearm_device(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Note an Olm message to a device; return how much it re-arms."""
        return self._olm.to_device(key, sender, sender_key)

    def rearm_users(self, recipient_user: str, sender_user: str) -> int:
        """Note one that re-arms all between two users; return how much that is."""
        return self._olm.between_users(recipient_user, sender_user)

    def _stored(
        self, storing: Storing, stream_id: int, *, only_one_in_row: bool
    ) -> Record:
        is_rearmed = self._in_flight.is_rearmed(storing)
        return Record(
            stream_id,
            storing.notice,
            storing.mailbox,
            storing.who,
            REARMED_ALREADY if is_rearmed else storing.number,
            seen_arriving=True,
            only_one_in_row=only_one_in_row,
            device_list_id=storing.device_list_id,
            queued_s=storing.began_s,
        )


def _doubt(mailbox: Mailbox, notice: Notice) -> None:
    """Believe nothing of a pair of which something unknown was stored."""
    mailbox.doubt()
    for record in mailbox.of_pair(notice):
        record.number = REARMED_ALREADY

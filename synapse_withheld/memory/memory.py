"""What is known to be queued, and what passed since it was sorted.

A bounded cache of the mailboxes of one queue, checked against them before it is acted
on. What is forgotten here costs at most one more write per pair. Every call takes a
constant or logarithmic number of steps, but for those that forget a mailbox or learn a
page of one.
"""

from __future__ import annotations

from typing import Callable, Collection, Sequence

from synapse_withheld.memory.belief import Belief, judge, says_it, why_stored
from synapse_withheld.memory.in_flight import InFlight
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.mailboxes import Mailboxes
from synapse_withheld.memory.tables.records import REARMED_ALREADY, Record
from synapse_withheld.memory.vanishing import Vanishing
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import WILDCARD, MailboxKey, RowState, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row

__all__ = ["Limits", "Mailbox", "Memory", "Record"]


class Memory(Mailboxes):
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
        """Start empty; what is not told here is as `Mailboxes` takes it.

        `sees_reads` says whether all reads of mailboxes pass `note_read`, and `hold_s`
        how long one that was delivered stands for later ones; `None` if it does not.
        """
        super().__init__(limits, who_of, position)
        self._sees_reads = sees_reads
        self._hold_s = hold_s
        self._in_flight = InFlight()
        # How many Olm messages passed that re-armed anything. It never begins again, so
        # that nothing that is old ever looks new.
        self._number = 0
        self.vanishing = Vanishing(self, self._in_flight)

    def believe(self, key: MailboxKey, notice: Notice, now_s: float) -> Belief:
        """Say whether a new notice is believed to be a duplicate of a queued one.

        With a hold, also of one whose row may be gone.
        """
        if self._in_flight.says_otherwise(key, notice):
            return Belief(decision.NOT_REPEATED)
        mailbox = self.peek(key)
        of_pair = [] if mailbox is None else mailbox.of_pair(notice)
        if mailbox is None or not of_pair:
            return Belief(decision.FIRST)
        record = says_it(notice, of_pair)
        if record is None:
            return Belief(why_stored(notice, of_pair))
        between_users = self._users.number((key[0], record.sender))
        if between_users > record.number or mailbox.is_rearmed(record):
            return Belief(decision.REARMED)
        is_read = self._sees_reads and record.stream_id <= mailbox.handed_out
        if is_read and not self._is_held(record, now_s):
            return Belief(decision.READ)
        return Belief(decision.DUPLICATE, record)

    def begin(
        self,
        key: MailboxKey,
        notice: Notice,
        who: str,
        device_list_id: int,
        now_s: float,
    ) -> Record:
        """Note that a notice is in flight; `settle` or `abandon` ends that.

        Returns:
            What will be remembered of its row.
        """
        opened = self.peek(key)
        record = Record(
            stream_id=0,
            notice=notice,
            # One object for all of a mailbox takes less room.
            mailbox=key if opened is None else opened.key,
            who=who,
            number=self._number,
            seen_arriving=True,
            device_list_id=device_list_id,
            # It was not queued before.
            queued_s=now_s,
        )
        self._in_flight.add(record, opened)
        self._users.add((key[0], record.sender))
        return record

    def settle(
        self, storing: Record, stream_id: int, *, only_one_in_row: bool = True
    ) -> list[Superseded] | None:
        """Remember a notice that was stored; return what is redundant now.

        Returns:
            `None` where it was stored into a mailbox that is not the one that was open
            when it began: what that holds is to be learned.
        """
        mailbox = self.get(storing.mailbox)
        try:
            if mailbox is not None and mailbox is self._in_flight.opened(storing):
                storing.stream_id = stream_id
                storing.only_one_in_row = only_one_in_row
                if self._in_flight.is_rearmed(storing):
                    storing.number = REARMED_ALREADY
                return self.place(mailbox, storing)
            if mailbox is not None:
                # Nothing is believed of a pair of which something unknown was stored.
                mailbox.doubt()
                for record in mailbox.of_pair(storing.notice):
                    record.number = REARMED_ALREADY
            return None
        finally:
            # Last, so that what passed meanwhile is not forgotten.
            self.abandon(storing)

    def abandon(self, storing: Record) -> None:
        """Note that a notice was not stored."""
        self._in_flight.remove(storing)
        self._users.remove((storing.mailbox[0], storing.sender))

    def confirmed(self, record: Record, now_s: float) -> None:
        """Note that a row was seen to be queued."""
        record.queued_s = max(record.queued_s, now_s)

    def judge(self, record: Record, state: RowState | None, now_s: float) -> Decision:
        """Decide about what is a duplicate of a row, given what became of that.

        What is not queued any more is forgotten.
        """
        decided = judge(record, state, is_held=self._is_held(record, now_s))
        if decided is decision.NOT_QUEUED:
            mailbox = self.peek(record.mailbox)
            if mailbox is not None and record in mailbox.of_pair(record.notice):
                self.remove(mailbox, record)
        return decided

    def _is_held(self, record: Record, now_s: float) -> bool:
        """Say whether a row stands for later ones even if it was delivered."""
        return (
            self._hold_s is not None
            and record.notice.rule.once_per_session
            and now_s - record.queued_s <= self._hold_s
        )

    def learn(
        self, mailbox: Mailbox, rows: Sequence[Row], newest_id: int, *, last: bool
    ) -> list[Superseded]:
        """Remember what was found in the database; return what is redundant.

        Args:
            mailbox: What was open when it was looked at; otherwise nothing happens.
            rows: The notices of one page; the newest page comes first.
            newest_id: The newest stream ID of the mailbox, whatever it holds.
            last: Whether nothing older is left, and nothing was doubted meanwhile.
        """
        if self.get(mailbox.key) is not mailbox:
            return []
        # Before it is doubted, where not all of it finds room.
        mailbox.learned = last or mailbox.learned
        return self.place_found(mailbox, rows, newest_id)

    def doubt(self, user_id: str, device_ids: Collection[str]) -> None:
        """Note that some devices of a user were told something that nobody saw."""
        remembered = self._devices.get(user_id, {})
        if WILDCARD in device_ids:
            device_ids = remembered
        elif len(remembered) < len(device_ids):
            # Many may be made up.
            device_ids = [each for each in remembered if each in device_ids]
        for device_id in device_ids:
            mailbox = self.peek((user_id, device_id))
            if mailbox is not None:
                mailbox.doubt()

    def clear(self) -> None:
        """Forget everything, as when something that happened was missed."""
        super().clear()
        for storing in self._in_flight:
            self._users.add((storing.mailbox[0], storing.sender))

    def note_read(self, user_id: str, device_id: str, up_to: int) -> None:
        """Note that a device begins to read its mailbox up to a stream ID."""
        mailbox = self.peek((user_id, device_id))
        if mailbox is not None:
            mailbox.handed_out = max(mailbox.handed_out, up_to)

    def rearm_device(self, key: MailboxKey, sender: str, sender_key: str) -> int:
        """Note an Olm message to a device; return how much it re-arms."""
        number = self._number + 1
        rearmed = self._in_flight.ends.rearm((key, sender, sender_key), number)
        mailbox = self.peek(key)
        if mailbox is not None:
            rearmed += mailbox.rearm(sender, sender_key, number)
        if rearmed:
            self._number = number
        return rearmed

    def rearm_users(self, recipient_user: str, sender_user: str) -> int:
        """Note one that re-arms all between two users; return how much that is."""
        users = (recipient_user, sender_user)
        rearmed = self._users.rearm(users, self._number + 1)
        if rearmed:
            self._number += 1
        return rearmed

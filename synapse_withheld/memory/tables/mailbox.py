"""What is remembered of one mailbox."""

from __future__ import annotations

from itertools import chain, islice
from typing import Dict, Iterator

import attrs

from synapse_withheld.memory.tables.asked import Asked
from synapse_withheld.memory.tables.holders import Holders
from synapse_withheld.memory.tables.limits import MOST_OF_PAIR, Limits, most_of_sender
from synapse_withheld.memory.tables.records import ByAge, Record
from synapse_withheld.memory.tables.sender import Sender
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice


@attrs.define(eq=False, weakref_slot=False)
class Mailbox:
    """The rows of one mailbox that are known, by sender.

    Attributes:
        handed_out: Up to which stream ID its device may have been handed messages.
        learned: Whether what was queued before it was opened is known, and nothing
            that is queued was forgotten since.
        doubts: How often something was stored unseen or forgotten.
        asked: What was asked for that may vanish with its cancellation; mostly nothing.
    """

    key: MailboxKey
    handed_out: int
    learned: bool = False
    doubts: int = attrs.field(default=0, init=False)
    asked: Asked | None = attrs.field(default=None, init=False)
    # How many doubts there were when all of it was known; -1 for never.
    _whole_at: int = attrs.field(default=-1, init=False)
    _senders: Dict[str, Sender] = attrs.field(factory=dict, init=False)
    _size: int = attrs.field(default=0, init=False)
    # Only where one could hold more than one may.
    _holders: Holders | None = attrs.field(default=None, init=False)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(each.records for each in self._senders.values())

    def doubt(self) -> None:
        """Have it learned anew: something may be queued that nobody knows of."""
        self.learned = False
        self.doubts += 1

    @property
    def is_whole(self) -> bool:
        """Say whether it was learned to its oldest row, and never doubted since."""
        return self._whole_at == self.doubts

    def note_whole(self) -> None:
        """Note that it is."""
        self._whole_at = self.doubts

    def sender(self, user_id: str) -> Sender | None:
        """Return what a sender has here, if that is anything."""
        return self._senders.get(user_id)

    def of_pair(self, notice: Notice) -> ByAge:
        """Return the records of the pair of a notice."""
        sender = self._senders.get(notice.pair.sender)
        return [] if sender is None else sender.of_pair(notice)

    def some(self, most: int) -> ByAge:
        """Return some of the records."""
        return list(islice(self, most))

    def insert(self, record: Record, limits: Limits) -> None:
        """Remember one more."""
        sender = self._senders.get(record.sender)
        if sender is None:
            self._senders[record.sender] = Sender([record])
        else:
            sender.insert(record)
        self._size += 1
        if self._holders is not None:
            self._holders.insert(record)
        elif self._size > limits.of_who_in_mailbox:
            self._holders = Holders(self)

    def remove(self, record: Record) -> None:
        """Forget one."""
        sender = self._senders[record.sender]
        sender.remove(record)
        if not sender.records:
            del self._senders[record.sender]
        self._size -= 1
        if self._holders is not None:
            self._holders.remove(record)

    def beyond_limits(self, record: Record, limits: Limits) -> Record | None:
        """Return what makes room for a record that was just remembered.

        The oldest of the same pair, of the same sender and rule, of the same who or, in
        a full mailbox, of the who that holds most; `None` if there is room.
        """
        if self._size <= MOST_OF_PAIR and self._holders is None:
            return None
        sender = self._senders[record.sender]
        of_pair = sender.of_pair(record.notice)
        if len(of_pair) > MOST_OF_PAIR:
            return of_pair[0]
        rule = record.notice.rule
        most = most_of_sender(rule)
        if len(sender.records) > most:
            of_rule = sender.of_rule(rule.name)
            if len(of_rule) > most:
                return of_rule[0]
        if self._holders is None:
            return None
        of_who = self._holders.of(record.who)
        if len(of_who) > limits.of_who_in_mailbox:
            return of_who[0]
        return self._holders.of_most()[0] if self._size > limits.of_mailbox else None

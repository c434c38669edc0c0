"""What is remembered of one mailbox."""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain, islice
from typing import Dict, Iterable, Iterator

import attrs

from synapse_withheld.memory.tables.asked import Asked
from synapse_withheld.memory.tables.limits import (
    MOST_OF_PAIR,
    MOST_OF_SENDER,
    MOST_REQUESTS_OF_SENDER,
    Limits,
)
from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert_into,
    remove_from,
)
from synapse_withheld.memory.tables.sender import Sender
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice


class ByWho:
    """The records of a mailbox that holds many, by who, and who has most."""

    __slots__ = ("_by_count", "_most", "_records")

    def __init__(self, records: Iterable[Record]) -> None:
        self._records: Dict[str, ByAge] = {}
        # By a number of records: those who have so many. Ordered dictionaries find
        # their first in one step, however many were taken out before it.
        self._by_count: Dict[int, OrderedDict[str, None]] = {}
        self._most = 0
        for record in records:
            self.insert(record)

    def of(self, who: str) -> ByAge:
        return self._records.get(who, [])

    def of_most(self) -> ByAge:
        """Return what one has who has most."""
        return self._records[next(iter(self._by_count[self._most]))]

    def beyond(self, record: Record, size: int, limits: Limits) -> Record | None:
        """Return what makes room in a mailbox of some size, if that is needed."""
        of_who, of_most = self.of(record.who), self.of_most()
        if len(of_who) > limits.of_who_in_mailbox:
            return of_who[0]
        if size <= limits.of_mailbox:
            return None
        # Of equals the older: what is learned may be older than all that is here.
        return min(of_most[0], of_who[0]) if len(of_who) == len(of_most) else of_most[0]

    def insert(self, record: Record) -> None:
        insert_into(self._records, record.who, record)
        self._recount(record.who, before=len(self.of(record.who)) - 1)

    def remove(self, record: Record) -> None:
        before = len(self.of(record.who))
        remove_from(self._records, record.who, record)
        self._recount(record.who, before)

    def _recount(self, who: str, before: int) -> None:
        now = len(self.of(who))
        if before:
            same = self._by_count[before]
            del same[who]
            if not same:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, OrderedDict())[who] = None
        # It changes by one: where nobody has as many any more, this one has most.
        if now > self._most or self._most not in self._by_count:
            self._most = now


@attrs.define(eq=False, weakref_slot=False)
class Mailbox:
    """The rows of one mailbox that are known, by sender.

    Attributes:
        handed_out: Up to which stream ID its device may have been handed messages.
        learned: Whether what was queued before it was opened is known, and nothing
            that is queued was forgotten since.
        doubts: How often something was stored unseen or forgotten.
        due_at: How often it had been doubted when somebody last wanted it learned;
            `None` where it is not queued for that.
        asked: What was asked for that may vanish with its cancellation; mostly nothing.
    """

    key: MailboxKey
    handed_out: int
    learned: bool = False
    doubts: int = attrs.field(default=0, init=False)
    due_at: int | None = attrs.field(default=None, init=False)
    asked: Asked | None = attrs.field(default=None, init=False)
    # How many doubts there were when all of it was known; -1 for never.
    _whole_at: int = attrs.field(default=-1, init=False)
    _senders: Dict[str, Sender] = attrs.field(factory=dict, init=False)
    _size: int = attrs.field(default=0, init=False)
    # Only where one could have more than one may.
    _by_who: ByWho | None = attrs.field(default=None, init=False)

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
        self._whole_at = self.doubts

    def rearm(self, user_id: str, sender_key: str, number: int) -> int:
        """Note an Olm message of a sender's device; return how much it re-arms."""
        sender = self._senders.get(user_id)
        return 0 if sender is None else sender.rearm(sender_key, number)

    def is_rearmed(self, record: Record) -> bool:
        """Say whether one passed since a record that is here was sorted."""
        return self._senders[record.sender].is_rearmed(record)

    def of_pair(self, notice: Notice) -> ByAge:
        sender = self._senders.get(notice.pair.sender)
        return [] if sender is None else sender.of_pair(notice)

    def some(self, most: int) -> ByAge:
        return list(islice(self, most))

    def insert(self, record: Record, limits: Limits) -> None:
        sender = self._senders.get(record.sender)
        if sender is None:
            self._senders[record.sender] = Sender([record])
        else:
            sender.insert(record)
        self._size += 1
        if self._by_who is not None:
            self._by_who.insert(record)
        elif self._size > limits.of_who_in_mailbox:
            self._by_who = ByWho(self)

    def remove(self, record: Record) -> None:
        sender = self._senders[record.sender]
        sender.remove(record)
        if not sender.records:
            del self._senders[record.sender]
        self._size -= 1
        if self._by_who is not None:
            self._by_who.remove(record)

    def beyond_limits(self, record: Record, limits: Limits) -> Record | None:
        """Return what makes room for a record that was just remembered.

        The oldest of the same pair, of the same sender and rule, of the same who or, in
        a full mailbox, of the who that has most; `None` if there is room.
        """
        if self._size <= MOST_OF_PAIR and self._by_who is None:
            return None
        sender, rule = self._senders[record.sender], record.notice.rule
        of_pair = sender.of_pair(record.notice)
        if len(of_pair) > MOST_OF_PAIR:
            return of_pair[0]
        most = MOST_OF_SENDER if rule.about_keys else MOST_REQUESTS_OF_SENDER
        if len(sender.records) > most and len(sender.of_rule(rule)) > most:
            return sender.of_rule(rule)[0]
        if self._by_who is None:
            return None
        return self._by_who.beyond(record, self._size, limits)

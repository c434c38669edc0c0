"""What is remembered of one row, such records by age, and what re-arms them."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Dict, Generic, Hashable, List, TypeVar

import attrs

from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice

# The number of a record that is re-armed whatever comes.
REARMED_ALREADY = -1


@attrs.define(eq=False, weakref_slot=False)
class Record:
    """A row with a notice, as it is remembered.

    Attributes:
        mailbox: The mailbox that it is in.
        who: Whose room it takes.
        number: How many Olm messages had passed when it was sorted: it is re-armed
            where one between its two ends has a higher number. Of what was found
            nobody knows.
        seen_arriving: Whether this process saw it being stored; otherwise it was found
            in the database.
        only_one_in_row: Whether the row holds nothing else, so that it may be deleted.
        device_list_id: The position of the device list stream when it was sorted.
        queued_s: When it was last known to be queued, in seconds of a clock that never
            goes back.
    """

    stream_id: int
    notice: Notice
    mailbox: MailboxKey
    who: str
    number: int = REARMED_ALREADY
    seen_arriving: bool = False
    only_one_in_row: bool = True
    device_list_id: int = 0
    queued_s: float = 0.0

    @property
    def sender(self) -> str:
        return self.notice.pair.sender

    def __lt__(self, other: Record) -> bool:
        """Order by age."""
        return self.stream_id < other.stream_id


# Records, the oldest first. Inserting and removing move what is behind: 20,000 of them
# take some microseconds.
ByAge = List[Record]

Name = TypeVar("Name", bound=Hashable)


def insert(records: ByAge, record: Record) -> None:
    if records[-1].stream_id <= record.stream_id:
        records.append(record)
    else:
        insort(records, record)


def insert_into(of: Dict[Name, ByAge], name: Name, record: Record) -> None:
    if name in of:
        insert(of[name], record)
    else:
        # What is appended to an empty list takes room for four.
        of[name] = [record]


def remove(records: ByAge, record: Record) -> None:
    # Several mailboxes may have rows with one stream ID, as those of one request.
    del records[records.index(record, bisect_left(records, record))]


def remove_from(of: Dict[Name, ByAge], name: Name, record: Record) -> None:
    remove(of[name], record)
    if not of[name]:
        del of[name]


def count(counts: Dict[Name, int], name: Name, more: int) -> None:
    """Count some more of a name; what is not there takes no room."""
    counts[name] = counts.get(name, 0) + more
    if not counts[name]:
        del counts[name]


class Between(Generic[Name]):
    """Counts, and the number of the last Olm message of each.

    The number is kept only as long as there is anything that it re-arms: whoever sends
    Olm messages fills no memory with them.
    """

    def __init__(self) -> None:
        self._counts: Dict[Name, int] = {}
        self._numbers: Dict[Name, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, ends: Name) -> None:
        count(self._counts, ends, 1)

    def remove(self, ends: Name) -> None:
        count(self._counts, ends, -1)
        if ends not in self._counts:
            self._numbers.pop(ends, None)

    def rearm(self, ends: Name, number: int) -> int:
        """Note an Olm message; return how much it re-arms."""
        rearmed = self._counts.get(ends, 0)
        if rearmed:
            self._numbers[ends] = number
        return rearmed

    def number(self, ends: Name) -> int:
        return self._numbers.get(ends, 0)

"""Who has how much in a mailbox that holds much."""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, Iterable

from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert_into,
    remove_from,
)


class ByWho:
    """The records of one mailbox by who, and who has most."""

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

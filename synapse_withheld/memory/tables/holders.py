"""Who holds how much in a mailbox that holds much."""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, Iterable

from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert_into,
    remove_from,
)


class Holders:
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
        """Return what one has."""
        return self._records.get(who, [])

    def of_most(self) -> ByAge:
        """Return what one has who has most."""
        return self._records[next(iter(self._by_count[self._most]))]

    def insert(self, record: Record) -> None:
        """Count one more."""
        insert_into(self._records, record.who, record)
        now = len(self._records[record.who])
        self._recount(record.who, now - 1, now)

    def remove(self, record: Record) -> None:
        """Count one less."""
        before = len(self._records[record.who])
        remove_from(self._records, record.who, record)
        self._recount(record.who, before, before - 1)

    def _recount(self, who: str, before: int, now: int) -> None:
        if before:
            same = self._by_count[before]
            del same[who]
            if not same:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, OrderedDict())[who] = None
        if now > self._most or self._most not in self._by_count:
            self._most = now

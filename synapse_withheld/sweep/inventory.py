"""Add up rows of a queue by kind, and find the longest mailboxes or outboxes."""

from __future__ import annotations

import heapq
import itertools
from typing import Callable, Iterable, Tuple

import attrs

from synapse_withheld.sweep.kinds import Kind

# So many kinds are told apart, those that come first; senders may make up more.
MOST_KINDS = 1_000
OTHERS = Kind("(others)")

# Messages that one sync returns at most.
MOST_OF_SYNC = 100
# How many of the most frequent kinds of one mailbox are told.
MOST_FREQUENT = 3

# Whose the rows are: a user and a device, or a server.
Name = Tuple[str, ...]

# A row, as far as it is counted: whose it is, what, and how many bytes.
Line = Tuple[Name, Kind, int]


@attrs.define
class Sums:
    """So many rows, and so many bytes of text."""

    rows: int = 0
    bytes: int = 0

    def add(self, rows: int, size: int) -> None:
        self.rows += rows
        self.bytes += size


@attrs.define
class ByKind:
    """Sums of each kind, in bounded memory."""

    sums: dict[Kind, Sums] = attrs.Factory(dict)

    def of(self, kind: Kind) -> Sums:
        found = self.sums.get(kind)
        if found is None:
            kind = kind if len(self.sums) < MOST_KINDS else OTHERS
            found = self.sums.setdefault(kind, Sums())
        return found

    @property
    def total(self) -> Sums:
        total = Sums()
        for each in self.sums.values():
            total.add(each.rows, each.bytes)
        return total

    def most_frequent(self) -> list[tuple[Kind, Sums]]:
        """Return the kinds, those with the most rows first."""
        return sorted(self.sums.items(), key=lambda each: (-each[1].rows, each[0]))


@attrs.frozen
class Long:
    """A mailbox or an outbox.

    Attributes:
        name: Whose it is.
        rows: How many rows it has.
        kinds: Its most frequent kinds, and how many rows each has.
    """

    name: Name
    rows: int
    kinds: tuple[tuple[Kind, int], ...]

    @property
    def syncs(self) -> int:
        """Return how many syncs it takes to empty it."""
        return -(-self.rows // MOST_OF_SYNC)


class Inventory:
    """What there is in one queue, told while it is walked."""

    def __init__(
        self, limit: int, ended: Callable[[Name, Sums], None] = lambda *_: None
    ) -> None:
        """Begin with nothing.

        Args:
            limit: How many of the longest are kept.
            ended: Called with each name and all that it has, once that is known.
        """
        self.kinds = ByKind()
        self.names = 0
        self._limit = limit
        self._ended = ended
        self._longest: list[tuple[int, int, Long]] = []
        self._order = itertools.count(0, -1)
        self._name: Name | None = None
        self._of_name = ByKind()

    def add(self, lines: Iterable[Line]) -> None:
        """Count rows; those of one name come one after the other."""
        for name, kind, size in lines:
            if name != self._name:
                self.end()
                self._name = name
            of_kind = self._of_name.of(kind)
            of_kind.rows += 1
            of_kind.bytes += size

    def end(self) -> None:
        """Count what there is of the last name."""
        if self._name is None:
            return
        self.names += 1
        for kind, sums in self._of_name.sums.items():
            self.kinds.of(kind).add(sums.rows, sums.bytes)
        total = self._of_name.total
        self._keep(self._name, total.rows)
        self._ended(self._name, total)
        self._name, self._of_name = None, ByKind()

    @property
    def longest(self) -> list[Long]:
        """Return the longest, the longest first."""
        return [each for *_, each in sorted(self._longest, reverse=True)]

    def _keep(self, name: Name, rows: int) -> None:
        if len(self._longest) == self._limit and rows <= self._longest[0][0]:
            return
        frequent = self._of_name.most_frequent()[:MOST_FREQUENT]
        kinds = tuple((kind, sums.rows) for kind, sums in frequent)
        # Of equally long ones, that which came first.
        entry = (rows, next(self._order), Long(name, rows, kinds))
        heapq.heappush(self._longest, entry)
        if len(self._longest) > self._limit:
            heapq.heappop(self._longest)

"""Add up rows of a queue by kind, and find the longest mailboxes or outboxes."""

from __future__ import annotations

import heapq
from typing import Any, Iterable, Tuple

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

    def add(self, other: ByKind) -> None:
        for kind, sums in other.sums.items():
            self.of(kind).add(sums.rows, sums.bytes)

    @property
    def total(self) -> Sums:
        total = Sums()
        for each in self.sums.values():
            total.add(each.rows, each.bytes)
        return total

    def most_frequent(self) -> list[tuple[Kind, Sums]]:
        return sorted(self.sums.items(), key=lambda each: (-each[1].rows, each[0]))


@attrs.frozen
class Long:
    """A mailbox or an outbox: its rows, and those of its most frequent kinds."""

    name: Name
    rows: int
    kinds: tuple[tuple[Kind, int], ...]

    @property
    def syncs(self) -> int:
        return -(-self.rows // MOST_OF_SYNC)


@attrs.define
class Inventory:
    """What there is in one queue, of how many names, told while it is walked."""

    # How many of the longest are kept.
    _limit: int
    kinds: ByKind = attrs.field(factory=ByKind, init=False)
    names: int = attrs.field(default=0, init=False)
    # Of equally long ones, that which came first.
    _longest: list[tuple[int, int, Long]] = attrs.field(factory=list, init=False)
    _name: Name | None = attrs.field(default=None, init=False)
    _of_name: ByKind = attrs.field(factory=ByKind, init=False)

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
        if self._name is None:
            return
        self.names += 1
        self.kinds.add(self._of_name)
        rows = self._of_name.total.rows
        frequent = self._of_name.most_frequent()[:MOST_FREQUENT]
        kinds = tuple((kind, sums.rows) for kind, sums in frequent)
        self._keep(rows, -self.names, Long(self._name, rows, kinds))
        self._name, self._of_name = None, ByKind()

    def follow(self, other: Inventory) -> None:
        """Count what there is of other names, which come after these; both ended."""
        self.kinds.add(other.kinds)
        for rows, order, each in other._longest:
            self._keep(rows, order - self.names, each)
        self.names += other.names

    @property
    def longest(self) -> list[Long]:
        return [each for *_, each in sorted(self._longest, reverse=True)]

    def _keep(self, *entry: Any) -> None:
        heapq.heappush(self._longest, entry)
        if len(self._longest) > self._limit:
            heapq.heappop(self._longest)

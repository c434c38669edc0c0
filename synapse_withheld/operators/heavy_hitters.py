"""Who occurs most often among any number, in fixed memory."""

from __future__ import annotations

import heapq
from typing import Dict, Generic, TypeVar

import attrs

Key = TypeVar("Key")


@attrs.frozen
class Count(Generic[Key]):
    """How often something occurred.

    Attributes:
        key: What.
        occurred: How often at most.
        error: How much less often it may have been.
    """

    key: Key
    occurred: int
    error: int


class HeavyHitters(Generic[Key]):
    """The Space-Saving sketch (Metwally, Agrawal, El Abbadi, 2005).

    It counts `capacity` keys at once. Of `total` occurrences, everything that makes up
    more than one in `capacity` is among those counted, and no error exceeds
    `total / capacity`. Keys that occur equally often must be comparable.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.total = 0
        self._counts: Dict[Key, Count[Key]] = {}
        # Each counted key once, with a count that it had at some time: a count only
        # grows, so that it is looked at when an older one has come to the front.
        self._smallest: list[tuple[int, Key]] = []

    def add(self, key: Key, times: int = 1) -> None:
        """Count occurrences; takes logarithmic time on average."""
        self.total += times
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = Count(key, known.occurred + times, known.error)
        elif len(self._counts) < self.capacity:
            self._counts[key] = Count(key, times, 0)
            heapq.heappush(self._smallest, (times, key))
        else:
            smallest = self._take_smallest()
            # It may have occurred before and been displaced: but not more often
            # than what it displaces now.
            self._counts[key] = Count(key, smallest + times, smallest)
            heapq.heapreplace(self._smallest, (smallest + times, key))

    def most(self, number: int) -> list[Count[Key]]:
        """Return those that occurred most often, most first."""
        return heapq.nlargest(
            number, self._counts.values(), key=lambda each: each.occurred - each.error
        )

    def _take_smallest(self) -> int:
        """Drop what occurred least, whose place in the heap is then the first."""
        while True:
            noted, key = self._smallest[0]
            occurred = self._counts[key].occurred
            if occurred == noted:
                del self._counts[key]
                return occurred
            heapq.heapreplace(self._smallest, (occurred, key))

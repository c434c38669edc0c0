"""How much is between two ends, and the last Olm message there."""

from __future__ import annotations

from typing import Dict, Generic

from synapse_withheld.memory.tables.records import Name, count


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

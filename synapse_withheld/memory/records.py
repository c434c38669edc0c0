"""A sorted table of packed records: one block of memory, however many there are.

Pure: nothing here knows what the records mean.
"""

from __future__ import annotations

from bisect import bisect_left
from struct import Struct
from typing import ClassVar

import attrs

WORD = 8


@attrs.define(eq=False, weakref_slot=False)
class Table:
    """Records of one size, sorted by their first field, which is their place.

    Finding one takes as many steps as their number has binary digits. Inserting and
    removing move what is behind: a megabyte takes some ten microseconds.

    Attributes:
        layout: The fields of a record, together whole words of 64 bits. The first is
            one, and so is the second if it tells apart what shares a place.
    """

    layout: ClassVar[Struct]
    _data: bytearray = attrs.field(factory=bytearray, init=False)

    @property
    def count(self) -> int:
        """Return how many records there are."""
        return len(self._data) // self.layout.size

    def position(self, place: int) -> int:
        """Return the position of the first record that is not before a place."""
        return bisect_left(self._words()[:: self.layout.size // WORD], place)

    def find(self, place: int, second: int | None = None) -> int | None:
        """Return the position of a record, `None` if there is none.

        Args:
            place: Where it has to be.
            second: What its second word has to be; `None` for anything.
        """
        words, width = self._words(), self.layout.size // WORD
        at = bisect_left(words[::width], place) * width
        while at < len(words) and words[at] == place:
            if second is None or words[at + 1] == second:
                return at // width
            at += width
        return None

    def any_at(self, places: range) -> bool:
        """Say whether there is any record at some places."""
        words, width = self._words(), self.layout.size // WORD
        at = bisect_left(words[::width], places.start) * width
        return at < len(words) and words[at] < places.stop

    def column(self, word: int, positions: range) -> memoryview:
        """Return one word of some records; until it is gone, none can be inserted."""
        width = self.layout.size // WORD
        return self._words()[
            positions.start * width + word : positions.stop * width : width
        ]

    def get(self, position: int) -> tuple[int, ...]:
        """Return the fields of a record."""
        return self.layout.unpack_from(self._data, position * self.layout.size)

    def put(self, position: int, record: tuple[int, ...]) -> None:
        """Replace a record by one with the same place."""
        self.layout.pack_into(self._data, position * self.layout.size, *record)

    def insert(self, record: tuple[int, ...]) -> None:
        """Insert a record."""
        at = self.position(record[0]) * self.layout.size
        self._data[at:at] = self.layout.pack(*record)

    def remove(self, position: int) -> None:
        """Remove a record."""
        at = position * self.layout.size
        del self._data[at : at + self.layout.size]

    def _words(self) -> memoryview:
        return memoryview(self._data).cast("Q")

"""The pairs that are known to be queued for one device, packed.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from heapq import nsmallest
from struct import Struct
from typing import ClassVar, NamedTuple

import attrs

from synapse_withheld.memory.fingerprints import (
    PLACES_OF_SENDER,
    Fingerprint,
    place_of_key,
    places_beside,
)
from synapse_withheld.memory.records import WORD, Table
from synapse_withheld.rules.notice import MOST_VARIANT

# Of `state`, the lowest bits; then those of the variant, and the others count Olm
# messages.
REARMED_DIRECTLY, WATCHED_SINCE_STORED, ONLY_ONE_IN_ROW = 1, 2, 4
_FLAGS, _VARIANT = 3, MOST_VARIANT.bit_length()

_MOST_SECONDS = (1 << 32) - 1

# How a record is packed: in words of 64 bits, but for the last two fields. The flags
# are in the lowest byte of the last one.
_LAYOUT = Struct("QQQQQII")
_WIDTH, _KEY = _LAYOUT.size // WORD, 2
_TO_FLAGS = _LAYOUT.size - (4 if sys.byteorder == "little" else 1)


class Record(NamedTuple):
    """What is remembered of the notice that a pair has queued.

    Attributes:
        place: With `check` and `key`: the notice's fingerprint.
        undelivered_s: When it was last known not to be delivered yet, in whole
            seconds of a clock that never goes back.
        state: The flags, the variant, and how many Olm messages its link had counted
            when it was about to be stored.
    """

    place: int
    check: int
    key: int
    stream_id: int
    device_list_id: int
    undelivered_s: int
    state: int

    @property
    def olm_messages(self) -> int:
        """Return how many Olm messages its link had counted."""
        return self.state >> _FLAGS + _VARIANT

    @property
    def variant(self) -> int:
        """Return the variant of the notice."""
        return self.state >> _FLAGS & MOST_VARIANT

    @property
    def link(self) -> int:
        """Return the place of its link."""
        return place_of_key(self.place, self.key)

    def has(self, flag: int) -> bool:
        """Say whether a flag is set."""
        return bool(self.state & flag)


def record(  # noqa: PLR0913 a field each
    fingerprint: Fingerprint,
    stream_id: int,
    *,
    flags: int,
    variant: int,
    olm_messages: int,
    device_list_id: int = 0,
    undelivered_s: float = 0.0,
) -> Record:
    """Return what is to be remembered of a notice."""
    seconds = _whole(undelivered_s)
    state = (olm_messages << _VARIANT | variant) << _FLAGS | flags
    return Record(*fingerprint, stream_id, device_list_id, seconds, state)


def _whole(seconds: float) -> int:
    """Return seconds as they are remembered: never later than they are."""
    return min(int(seconds), _MOST_SECONDS)


@attrs.define(eq=False, weakref_slot=False)
class Mailbox(Table):
    """The pairs known to be queued for one device, those of a sender side by side."""

    layout: ClassVar[Struct] = _LAYOUT

    def record(self, position: int) -> Record:
        """Return a record."""
        size = self.layout.size
        return Record._make(self.layout.unpack_from(self._data, position * size))

    def beside(self, place: int) -> range:
        """Return the positions of all pairs of the sender of a place."""
        places = places_beside(place)
        return range(self.position(places.start), self.position(places.stop))

    def oldest(self, among: range, most: int) -> list[Record]:
        """Return those of some that were stored first, oldest first."""
        stream_ids = self.column(Record._fields.index("stream_id"), among)
        return [self.record(at) for _, at in nsmallest(most, zip(stream_ids, among))]

    def rearm(self, place: int, key: int) -> int:
        """Re-arm the pairs of a sender that have a key.

        Args:
            place: Where all that is the sender's begins.
            key: What stands for the key.

        Returns:
            How many pairs were not re-armed.
        """
        # Each Olm message asks for it: in one pass, and nothing is unpacked.
        data = self._data
        words = memoryview(data).cast("Q")
        at = bisect_left(words[::_WIDTH], place) * _WIDTH
        end, stop = len(words), place + PLACES_OF_SENDER
        rearmed = 0
        while at < end and words[at] < stop:
            if words[at + _KEY] == key:
                flags = at * WORD + _TO_FLAGS
                rearmed += not data[flags] & REARMED_DIRECTLY
                data[flags] |= REARMED_DIRECTLY
            at += _WIDTH
        return rearmed

    def note_undelivered(self, position: int, seconds: float) -> None:
        """Note when a notice was seen to be queued."""
        known = self.record(position)
        later = max(known.undelivered_s, _whole(seconds))
        self.put(position, known._replace(undelivered_s=later))

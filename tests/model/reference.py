"""What the rule promises, held against what was sent, read and deleted.

Written without a look at the module. The names I1 to I5 are those of `docs/design.md`;
I2 is held in `door.py`.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import attrs

from tests.model.door import Batch, Door
from tests.model.redundancy import (
    OLM,
    goes,
    is_notice,
    pair_of,
    says_the_same,
)
from tests.model.tables import Place, Rows, decode

NEVER_S = float("-inf")


@attrs.define
class Reference:
    """Everything that happened, and what follows from it.

    Attributes:
        door: What came, and what was handed on.
        stored: What was ever stored for each device.
        hold_s: How long a delivered notice stands for later ones; 0 for not.
        sees_reads: Whether the module knows what was read.
        gone: When rows were acknowledged or deleted: number of the event, and seconds;
            what the module deleted was never delivered.
        changes: When each device changed, as numbers of events.
        reads: When a read of each mailbox started, and up to where.
    """

    door: Door
    stored: Mapping[Place, Mapping[int, str]]
    merge_scopes: bool
    hold_s: float
    sees_reads: bool
    gone: dict[tuple[Place, int], tuple[int, float]] = attrs.Factory(dict)
    changes: dict[Place, list[int]] = attrs.Factory(dict)
    reads: dict[Place, list[tuple[int, int]]] = attrs.Factory(dict)

    def check_batches(self, places: list[Place]) -> None:
        """I2 and I3 of each batch that was handed on."""
        for batch in self.door.batches:
            for place in places:
                self._check_collapsed(batch, place)

    def check_may_wait(self, batch: Batch, places: list[Place]) -> None:
        """I2: a batch waits only where it holds what may be a duplicate.

        Of a device that does not exist, too: nobody knows yet.
        """
        named = [place for place in batch.said if place[1] != "*"]
        assert any(
            self._may_be_duplicate(batch, place, exists=place in places)
            for place in named
        ), batch

    def check_left(self, place: Place, rows: Rows) -> None:
        """I2 and I3: all that was stored is there, but for what was read or deleted."""
        stored = self.stored.get(place, {})
        expected = {
            stream_id: decode(text)
            for stream_id, text in stored.items()
            if (place, stream_id) not in self.gone
        }
        assert expected == rows

    def note_deleted(self, place: Place, before: Rows, left: Rows) -> None:
        """I3: a row is deleted only while a newer one that stands for it is there."""
        for stream_id in before.keys() - left.keys():
            self.gone[place, stream_id] = (self.door.tick(), NEVER_S)
            assert self._stands_in(place, stream_id, left), (stream_id, before, left)

    def _stands_in(self, place: Place, stream_id: int, left: Rows) -> bool:
        """Say whether something is left for a row, be it for what was for it."""
        stored = self.stored[place]
        older = decode(stored[stream_id])
        return any(
            self._goes(older, decode(text), seen=self._was_seen(newer))
            and (newer in left or self._stands_in(place, newer, left))
            for newer, text in stored.items()
            if newer > stream_id
        )

    def check_at_rest(self, rows: Rows, *, anything_lost: bool = False) -> None:
        """I1: nothing is left that another row makes redundant.

        What a server says of others' users is left alone: only old versions of
        Synapse store it.

        Args:
            rows: A mailbox.
            anything_lost: Whether the module may have forgotten what it saw arrive.
        """
        spoofed = self.spoofed()
        genuine = {at: row for at, row in rows.items() if at not in spoofed}
        for older, newer in _pairs(genuine):
            seen = self._was_seen(newer, by_name=True) and not anything_lost
            assert not self._goes(rows[older], rows[newer], seen=seen), (older, rows)

    def spoofed(self) -> set[int]:
        """Return what a server said of users of others."""
        return {batch.stream_id for batch in self.door.batches if batch.is_spoofed}

    def _goes(self, older: Any, newer: Any, *, seen: bool) -> bool:
        merge = self.merge_scopes
        return goes(older, newer, merge_scopes=merge, newer_seen=seen)

    def _was_seen(self, stream_id: int, *, by_name: bool = False) -> bool:
        """Say whether this process saw a row arrive that its sender may send.

        Args:
            stream_id: Of the row.
            by_name: Whether it was to name its device: in mailboxes that are not
                remembered, what was for all of them is found later on.
        """
        return any(
            batch.stream_id == stream_id
            and batch.came > self.door.loaded
            and not batch.is_spoofed
            and not (by_name and any(device == "*" for _, device in batch.said))
            for batch in self.door.batches
        )

    # Collapsing.

    def _check_collapsed(self, batch: Batch, place: Place) -> None:
        """I3: the same was queued, or within the hold, and no Olm message since."""
        if batch.handed is not None and batch.is_left_out(place):
            assert not batch.is_spoofed, batch
            assert any(
                self._stands(row, batch, place, batch.handed)
                and self._is_there(row, batch, place)
                for row in self._rows_before(batch, place, batch.handed)
            ), (place, batch)

    def _may_be_duplicate(self, batch: Batch, place: Place, *, exists: bool) -> bool:
        content = batch.content_for(place)
        return (
            content is not None
            and not batch.is_spoofed
            and is_notice(batch.message_type, content)
            and not self._has_other_in_flight(batch, place)
            and any(
                self._stands(row, batch, place, batch.came)
                for row in self._rows_before(batch, place, batch.came, exists=exists)
            )
        )

    def _rows_before(
        self, batch: Batch, place: Place, at: int, *, exists: bool = True
    ) -> Iterator[Batch]:
        """Return the batches of which a row was settled for a device before."""
        stored = self.stored.get(place, {})
        for earlier in self.door.batches:
            if (
                earlier is not batch
                and earlier.ended is not None
                and batch.loaded < earlier.came
                and earlier.ended < at
                and (earlier.stream_id in stored or not exists)
            ):
                yield earlier

    def _stands(self, row: Batch, batch: Batch, place: Place, at: int) -> bool:
        """Say whether a row says what a batch does, and nothing happened since."""
        queued, new = row.message_for(place), batch.message_for(place)
        if queued is None or new is None or row.is_spoofed:
            return False
        if not is_notice(row.message_type, queued["content"]):
            return False
        merge = self.merge_scopes
        return (
            says_the_same(queued, new, merge_scopes=merge)
            and not any(self._rearms(olm, row, place, at) for olm in self.door.batches)
            and not self._was_read(row, place, at)
        )

    def _was_read(self, row: Batch, place: Place, at: int) -> bool:
        """Say whether a device may have been handed a row, where that is known."""
        return (
            self.sees_reads
            and not self.hold_s
            and any(
                started < at and row.stream_id <= up_to
                for started, up_to in self.reads.get(place, ())
            )
        )

    def _is_there(self, row: Batch, batch: Batch, place: Place) -> bool:
        """Say whether a row was queued after a batch came, or stands for it still."""
        went = self.gone.get((place, row.stream_id))
        changed = any(
            (row.ended or 0) < change < batch.came
            for change in self.changes.get(place, ())
        )
        if went is None or went[0] > batch.came:
            # What is queued elsewhere reaches the device that is there then.
            return not changed or place[0].endswith(":there")
        held = self.hold_s and went[1] >= batch.came_s - self.hold_s
        return bool(held) and not changed

    def _has_other_in_flight(self, batch: Batch, place: Place) -> bool:
        """Say whether anything of the pair is on its way that says something else."""
        new = batch.message_for(place)
        assert new is not None
        merge = self.merge_scopes
        for other in self.door.batches:
            under_way = other.came < batch.came and (
                other.ended is None or other.ended > batch.came
            )
            message = other.message_for(place) if under_way else None
            if message is None or other.is_spoofed or other.came < batch.loaded:
                continue
            same_pair = pair_of(message, merge_scopes=merge) == pair_of(
                new, merge_scopes=merge
            )
            if same_pair and not says_the_same(message, new, merge_scopes=merge):
                return True
        return False

    def _rearms(self, olm: Batch, row: Batch, place: Place, at: int) -> bool:
        """Say whether an Olm message passed after a row and before a moment."""
        if olm.message_type != OLM or olm.came > at or olm.is_spoofed:
            return False
        if olm.stream_id < row.stream_id:
            return False
        there, content = olm.content_for(place), row.content_for(place)
        if olm.sender == row.sender and there is not None:
            return bool(there["sender_key"] == content["sender_key"])
        return olm.sender == place[0] and row.sender in olm.users


def _pairs(rows: Rows) -> Iterator[tuple[int, int]]:
    """Return stream IDs of an older and a newer row, each with each."""
    stream_ids = sorted(rows)
    for number, older in enumerate(stream_ids):
        for newer in stream_ids[number + 1 :]:
            yield older, newer

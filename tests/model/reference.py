"""What the rule promises, held against what was sent, read and deleted.

Written without a look at the module. The names I1 to I5 are those of `docs/design.md`;
I2 is held in `play.py`.
"""

from __future__ import annotations

import itertools
from typing import Any, Callable

import attrs

from synapse_withheld.rules.identifiers import server_of
from tests.model.batch import Batch
from tests.model.client import is_heeded
from tests.model.homeserver import message_of
from tests.model.play import Play
from tests.model.redundancy import goes, is_notice, is_olm, pair_of, says_the_same
from tests.model.tables import Place, Rows, decode

# What the module deleted was never delivered.
NEVER_S = float("-inf")


@attrs.define
class Reference:
    """Everything that happened in a play, and what follows from it."""

    play: Play
    # When rows were acknowledged or deleted, as number of the event and in seconds;
    # when each device changed; when a read of each mailbox started, and up to where.
    gone: dict[tuple[Place, int], tuple[int, float]] = attrs.Factory(dict)
    changes: dict[Place, list[int]] = attrs.Factory(dict)
    reads: dict[Place, list[tuple[int, int]]] = attrs.Factory(dict)
    # Devices of senders that are gone.
    logged_out: set[Place] = attrs.Factory(set)

    def __attrs_post_init__(self) -> None:
        self.play.hs.deleting = self._deleting

    # What happens.

    def deliver(self, delete: Callable[[], Any]) -> None:
        """Let rows be deleted that were delivered."""
        self._delete(delete, self.play.hs.clock.seconds())

    def _deleting(self, delete: Callable[[], Any]) -> Any:
        """I3: a row is deleted only while a newer one that stands for it is there."""
        assert self.play.config.enforces
        result, gone = self._delete(delete, NEVER_S)
        for place, stream_id in gone:
            content = decode(self.play.hs.stored[place][stream_id])["content"]
            is_cancellation = content.get("action") == "request_cancellation"
            may_vanish = self.play.config.rules.key_requests == "vanish"
            assert self._stands_in(place, stream_id) or (is_cancellation and may_vanish)
        return result

    def _delete(
        self, delete: Callable[[], Any], at_s: float
    ) -> tuple[Any, set[tuple[Place, int]]]:
        before, result = self._all_rows(), delete()
        gone = before - self._all_rows()
        self.gone.update(dict.fromkeys(gone, (self.play.tick(), at_s)))
        return result, gone

    def _all_rows(self) -> set[tuple[Place, int]]:
        return {(place, at) for place in self.play.hs.stored for at in self.rows(place)}

    def rows(self, place: Place, *, alone: bool = False) -> Rows:
        """Return the messages for a device that wait here, or only whole rows."""
        user_id, device_id = place
        if server_of(user_id) == "here":
            return self.play.hs.mailbox(*place)
        return {
            stream_id: message_of(edu, place)
            for stream_id, edu in self.play.hs.outbox(server_of(user_id)).items()
            if device_id in edu["messages"].get(user_id, ())
            and not (alone and len(edu["messages"][user_id]) > 1)
        }

    def _stands_in(self, place: Place, stream_id: int) -> bool:
        """Say whether something is left for a row, be it for what was for it."""
        stored = self.play.hs.stored[place]
        older = decode(stored[stream_id])
        return any(
            (
                self.is_stale(older)
                or self._goes(older, decode(text), seen=self._was_seen(newer))
            )
            and (newer in self.rows(place) or self._stands_in(place, newer))
            for newer, text in stored.items()
            if newer > stream_id
        )

    @property
    def now_ts(self) -> int:
        return self.play.hs.runtime().now_ts()

    def is_stale(self, message: Any) -> bool:
        return not is_heeded(message, self.now_ts, self.logged_out)

    # What has to be true.

    def check_may_wait(self, batch: Batch) -> None:
        """I2: a batch waits only where it holds what may be a duplicate."""
        stored = self.play.hs.stored
        assert any(
            place[1] != "*"
            and is_notice(batch.message_type, content)
            and not self._has_other_in_flight(batch, place)
            # Nobody knows yet which devices exist.
            and (place not in stored or self._rows_for(batch, place, batch.came))
            for place, content in batch.said.items()
        ), batch

    def check(self) -> None:
        """I2 and I3 in the end, when nothing waits for anything.

        What collapsed was queued, or within the hold, with no Olm message since; and
        all that was stored is there, but for what was read or deleted.
        """
        for batch in self.play.batches:
            # I4: no failure of ours becomes one of Synapse's.
            assert batch.ended is not None, batch
            for place in batch.left_out:
                rows = self._rows_for(batch, place, batch.handed or 0)
                assert any(self._is_there(row, batch, place) for row in rows), batch
        for place, stored in self.play.hs.stored.items():
            left = [at for at in stored if (place, at) not in self.gone]
            assert {at: decode(stored[at]) for at in left} == self.rows(place)

    def check_at_rest(self, *, anything_lost: bool = False) -> None:
        """I1: nothing is left that another row makes redundant.

        What a server says of others' users is left alone: only old versions of
        Synapse store it. What was for all devices is found later on in mailboxes that
        are not remembered, and so is all of what faults made the module forget.
        """
        spoofed = self.spoofed()
        for place in self.play.hs.stored if self.play.config.enforces else ():
            rows = self.rows(place, alone=True)
            genuine = [at for at in rows if at not in spoofed]
            for older, newer in itertools.combinations(genuine, 2):
                seen = self._was_seen(newer, by_name=True) and not anything_lost
                redundant = self._goes(rows[older], rows[newer], seen=seen)
                assert not redundant, (older, newer, rows)

    def spoofed(self) -> set[int]:
        return {each.stream_id for each in self.play.batches if each.is_spoofed}

    def _goes(self, older: Any, newer: Any, *, seen: bool) -> bool:
        merge = self.play.config.merge_scopes
        return goes(older, newer, merge_scopes=merge, newer_seen=seen)

    def _was_seen(self, stream_id: int, *, by_name: bool = False) -> bool:
        """Say whether this process saw a row arrive that its sender may send."""
        return any(
            batch.stream_id == stream_id
            and batch.loaded == self.play.loaded
            and not batch.is_spoofed
            and not (by_name and any(device == "*" for _, device in batch.said))
            for batch in self.play.batches
        )

    # Collapsing.

    def _rows_for(self, batch: Batch, place: Place, at: int) -> list[Batch]:
        """Return those that said what a batch does, if nothing happened until then."""
        new, merge = batch.message_for(place), self.play.config.merge_scopes
        stored = self.play.hs.stored.get(place, {})
        assert new is not None
        user, key = new["sender"], new["content"]["sender_key"]
        return [
            row
            for row in self.play.batches
            if row.loaded == batch.loaded
            and not (row.is_spoofed or batch.is_spoofed)
            and (row.ended or at) < at
            and row.stream_id in stored
            and says_the_same(decode(stored[row.stream_id]), new, merge_scopes=merge)
            and not self._was_read(row, place, at)
            and not any(
                _passed_between(olm, row, at) and _rearms(olm, user, key, place)
                for olm in self.play.batches
            )
        ]

    def _was_read(self, row: Batch, place: Place, at: int) -> bool:
        """Say whether it may have been, where that is known and matters."""
        matters = self.play.hs.sees_reads and not self.play.config.hold_s
        return matters and any(
            began < at and row.stream_id <= up_to
            for began, up_to in self.reads.get(place, ())
        )

    def _is_there(self, row: Batch, batch: Batch, place: Place) -> bool:
        """Say whether a row was queued after a batch came, or stands for it still."""
        went = self.gone.get((place, row.stream_id))
        changes = self.changes.get(place, ())
        changed = any((row.ended or 0) < change < batch.came for change in changes)
        if went is None or went[0] > batch.came:
            # What is queued elsewhere reaches the device that is there then.
            return not changed or server_of(place[0]) != "here"
        hold_s = self.play.config.hold_s
        return hold_s is not None and went[1] >= batch.came_s - hold_s and not changed

    def _has_other_in_flight(self, batch: Batch, place: Place) -> bool:
        """Say whether anything of the pair is on its way that says something else."""
        new, merge = batch.message_for(place), self.play.config.merge_scopes
        return new is not None and any(
            other.loaded == batch.loaded
            and other.came < batch.came < (other.ended or batch.came + 1)
            and not other.is_spoofed
            # What collapsed of an EDU is over, though its ID is still being stored.
            and place not in other.left_out
            and (message := other.message_for(place)) is not None
            and pair_of(message, merge_scopes=merge) == pair_of(new, merge_scopes=merge)
            and not says_the_same(message, new, merge_scopes=merge)
            for other in self.play.batches
        )


def _passed_between(olm: Batch, row: Batch, at: int) -> bool:
    """Say whether a message passed after a row and before a moment.

    One that was being stored when the row came counts once it is stored: it may be
    read after the row.
    """
    if olm.came <= at and olm.stream_id >= row.stream_id:
        return True
    return row.came < (olm.ended or 0) <= at


def _rearms(olm: Batch, user: str, key: str, place: Place) -> bool:
    """Say whether a batch has an Olm message between a user's key and a device."""
    for (to_user, to_device), content in olm.said.items():
        if olm.is_spoofed or not is_olm(olm.message_type, content):
            continue
        said_key = key if to_device == "*" else content.get("sender_key")
        if (olm.sender, to_user) == (place[0], user) or (
            (olm.sender, said_key, to_user) == (user, key, place[0])
            and to_device in {place[1], "*"}
        ):
            return True
    return False

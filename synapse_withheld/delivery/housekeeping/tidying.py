"""Delete redundant rows, once the newer ones are in the mailbox for all to see."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, Sequence

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import MOST_DELETED, MOST_KEYS
from synapse_withheld.delivery.shares import Piece, Work
from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.vanishing import Place
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.mailbox import RowState, Superseded


@attrs.define(eq=False)
class _Redundant(Piece):
    row: Superseded


@attrs.define(eq=False)
class Tidying:
    """The redundant rows of one queue."""

    queue: Queue
    memory: Memory
    database: Database
    metrics: Metrics
    stream_token: Callable[[], int]
    _rows: Work[_Redundant] = attrs.field(factory=Work, init=False)
    _newer: dict[Place, int] = attrs.field(factory=dict, init=False)
    _seen_up_to: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._rows) + len(self.memory.vanishing)

    @property
    def is_ready(self) -> bool:
        # What was put back waits until readers see more.
        return bool(self.memory.vanishing) or (
            bool(self._rows) and self.stream_token() > self._seen_up_to
        )

    def add(self, rows: Iterable[Superseded], who: str) -> None:
        """Queue rows, as far as there is room."""
        self._seen_up_to = 0
        for row in rows:
            if self._rows.queue(_Redundant(who, row)):
                self._newer[row.mailbox, row.stream_id] = row.newer_stream_id
            else:
                self._leave(row)

    async def do_some(self) -> None:
        """Delete as many rows as one statement can."""
        vanished = self.memory.vanishing.take(MOST_KEYS)
        if vanished:
            # What cannot be deleted stays: it takes nothing back, and does no harm.
            deleted = await self.database.delete_vanished(vanished)
            self.metrics.tidied(self.queue.name, deleted)
            return
        taken = self._take()
        if not taken:
            return
        rows = [each.row for each in taken]
        deleting = self.database.delete(rows, self.queue)
        deleted = await self._rows.asking(taken, deleting, self._give_up)
        for row in rows:
            self._end(row)
        self.metrics.tidied(self.queue.name, deleted)
        await self._look_into(rows, deleted)

    def _take(self) -> list[_Redundant]:
        """Take rows whose newer row all readers see; put others back."""
        seen_up_to = self.stream_token()
        taken: list[_Redundant] = []
        too_new: list[_Redundant] = []
        for each in self._rows.take_some(MOST_DELETED):
            newer_id = self._newest_of(each.row)
            each.row = each.row._replace(newer_stream_id=newer_id)
            (taken if newer_id <= seen_up_to else too_new).append(each)
        self._rows.put_all_back(too_new)
        if not taken:
            self._seen_up_to = seen_up_to
        return taken

    def _leave(self, row: Superseded) -> None:
        """Leave a row where it is: a later notice has its mailbox learned.

        What others have in it is believed as before.
        """
        self.memory.vanishing.went(row.mailbox, row.stream_id, is_gone=False)
        mailbox = self.memory.peek(row.mailbox)
        if mailbox is not None:
            mailbox.doubt()

    def _give_up(self, each: _Redundant) -> None:
        self._end(each.row)
        self.memory.forget(each.row.mailbox)

    def _end(self, row: Superseded) -> None:
        self._newer.pop((row.mailbox, row.stream_id), None)

    def _newest_of(self, row: Superseded) -> int:
        """Return what makes a row redundant, if its newer row is redundant by now."""
        passed = []
        newer_id = row.newer_stream_id
        while (still_newer := self._newer.get((row.mailbox, newer_id))) is not None:
            passed.append(newer_id)
            newer_id = still_newer
        # Others begin on the same way, which may be long.
        for stream_id in passed:
            self._newer[row.mailbox, stream_id] = newer_id
        return newer_id

    async def _look_into(self, rows: Sequence[Superseded], deleted: int) -> None:
        """Find out what became of rows, as far as it matters.

        Mailboxes whose newer row is not there are forgotten, as when it was never
        stored. Where it is there, the older row was acknowledged in the meantime.
        """
        vanishing = self.memory.vanishing
        places = [(row.mailbox, row.stream_id) for row in rows]
        # The count of a deletion does not tell which rows went.
        awaited = [place for place in places if vanishing.awaits(*place)]
        newer: set[Place] = set()
        if deleted < len(rows):
            newer = {(row.mailbox, row.newer_stream_id) for row in rows}
        if not awaited and not newer:
            return
        states: Mapping[Place, RowState] = {}
        try:
            states = await self.database.read_queued(self.queue, [*awaited, *newer])
        finally:
            for place in awaited:
                state = states.get(place)
                is_gone = state is not None and not state.queued
                vanishing.went(*place, is_gone=is_gone)
        for place in newer:
            state = states.get(place)
            if state is None or not state.queued:
                self.memory.forget(place[0])

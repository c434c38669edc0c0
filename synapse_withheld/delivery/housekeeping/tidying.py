"""Delete redundant rows, once the newer ones are in the mailbox for all to see."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, Sequence
from weakref import WeakValueDictionary

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import MOST_DELETED, MOST_KEYS
from synapse_withheld.delivery.shares import Chore, Piece, Work
from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.vanishing import Place
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded


@attrs.define(eq=False)
class _Row:
    """A row, and the newer one that makes it redundant, if one does."""

    stream_id: int
    newer: _Row | None = None

    def newest(self) -> _Row:
        """Return what makes it redundant, if its newer row is redundant by now."""
        passed, row = [], self
        while row.newer is not None:
            passed.append(row)
            row = row.newer
        # Others begin on the same way, which may be long.
        for each in passed:
            each.newer = row
        return row


@attrs.define(eq=False)
class _Redundant(Piece):
    mailbox: MailboxKey
    row: _Row

    def superseded(self) -> Superseded:
        newest = self.row.newest()
        return Superseded(self.mailbox, self.row.stream_id, newest.stream_id)


@attrs.define(eq=False)
class Tidying(Chore):
    """The redundant rows of one queue."""

    queue: Queue
    memory: Memory
    database: Database
    metrics: Metrics
    stream_token: Callable[[], int]
    _rows: Work[_Redundant] = attrs.field(factory=Work, init=False)
    # As long as anything that is queued goes for them, be it by way of others.
    _named: WeakValueDictionary[Place, _Row] = attrs.field(
        factory=WeakValueDictionary, init=False
    )
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
        self._seen_up_to = 0
        for row in rows:
            item = _Redundant(who, row.mailbox, self._row(row.mailbox, row.stream_id))
            if self._rows.queue(item):
                item.row.newer = self._row(row.mailbox, row.newer_stream_id)
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
        rows = [each.superseded() for each in taken]
        deleting = self.database.delete(rows, self.queue)
        deleted = await self._rows.asking(
            taken, deleting, lambda each: self.memory.forget(each.mailbox)
        )
        self.metrics.tidied(self.queue.name, deleted)
        await self._look_into(rows, deleted)

    def _take(self) -> list[_Redundant]:
        """Take rows whose newer row all readers see; put others back."""
        seen_up_to = self.stream_token()
        taken: list[_Redundant] = []
        too_new: list[_Redundant] = []
        for each in self._rows.take_some(MOST_DELETED):
            newer_id = each.row.newest().stream_id
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
        self._doubt(row.mailbox)

    def _doubt(self, key: MailboxKey) -> None:
        mailbox = self.memory.peek(key)
        if mailbox is not None:
            mailbox.doubt()

    def _row(self, key: MailboxKey, stream_id: int) -> _Row:
        row = self._named.get((key, stream_id))
        if row is None:
            row = self._named[key, stream_id] = _Row(stream_id)
        return row

    async def _look_into(self, rows: Sequence[Superseded], deleted: int) -> None:
        """Find out what became of rows, as far as it matters.

        Where the newer row is not there, it was acknowledged, or was never stored: then
        older ones are left. Where it is there, the older row was acknowledged.
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
                # Not forgotten: what is in flight would not be seen being stored.
                self._doubt(place[0])

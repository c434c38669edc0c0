"""Delete redundant rows, once the newer ones are in the mailbox for all to see."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, Tuple

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import MOST_DELETED
from synapse_withheld.delivery.work import Piece, Work
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded

_Place = Tuple[MailboxKey, int]


@attrs.define(eq=False)
class Tidying:
    """The redundant rows of one queue.

    Attributes:
        queue: Which queue.
        stream_token: The position up to which readers see the stream.
    """

    queue: Queue
    memory: Memory
    database: Database
    metrics: Metrics
    stream_token: Callable[[], int]
    _rows: Work[Superseded] = attrs.field(factory=Work, init=False)
    _newer: dict[_Place, int] = attrs.field(factory=dict, init=False)
    _seen_up_to: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_ready(self) -> bool:
        # What was put back waits until readers see more.
        return bool(self._rows) and self.stream_token() > self._seen_up_to

    def add(self, rows: Iterable[Superseded], who: str) -> None:
        """Queue rows; mailboxes of what does not fit are forgotten."""
        self._seen_up_to = 0
        for row in rows:
            if self._rows.add(who, row):
                self._newer[row.mailbox, row.stream_id] = row.newer_stream_id
            else:
                self.memory.forget(row.mailbox)

    async def do_some(self) -> None:
        """Delete as many rows as one statement can."""
        taken = self._take()
        if not taken:
            return
        rows = [each.item for each in taken]
        try:
            deleted = await self.database.delete(rows, self.queue)
        except Exception:
            for each in self._rows.failed(taken):
                self._newer.pop((each.item.mailbox, each.item.stream_id), None)
                self.memory.forget(each.item.mailbox)
            raise
        for row in rows:
            self._newer.pop((row.mailbox, row.stream_id), None)
        self.metrics.tidied(self.queue.name, deleted)
        if deleted < len(rows):
            await self._look_into(rows)
        await self._let_vanish(rows)

    def _take(self) -> list[Piece[Superseded]]:
        """Take rows whose newer row all readers see; put others back."""
        seen_up_to = self.stream_token()
        taken: list[Piece[Superseded]] = []
        too_new: list[Piece[Superseded]] = []
        for each in self._rows.take(MOST_DELETED):
            newer_id = self._newest_of(each.item)
            each.item = attrs.evolve(each.item, newer_stream_id=newer_id)
            (taken if newer_id <= seen_up_to else too_new).append(each)
        self._rows.put_back(too_new)
        if not taken:
            self._seen_up_to = seen_up_to
        return taken

    async def _let_vanish(self, rows: Iterable[Superseded]) -> None:
        """Delete cancellations whose requests are gone, and were handed to nobody."""
        places = [(row.mailbox, row.stream_id) for row in rows]
        awaited = [place for place in places if self.memory.awaits(*place)]
        if not awaited:
            return
        # The count of a deletion does not tell which rows went.
        states: Mapping[_Place, RowState] = {}
        try:
            states = await self.database.read_queued(self.queue, awaited)
        finally:
            # No read begins between the answer and what is decided here.
            vanished = self._went(awaited, states)
        if vanished:
            deleted = await self.database.delete_vanished(vanished)
            self.metrics.tidied(self.queue.name, deleted)

    def _went(
        self, awaited: Iterable[_Place], states: Mapping[_Place, RowState]
    ) -> list[_Place]:
        """Return the places of cancellations that are redundant now."""
        vanished = []
        for mailbox, stream_id in awaited:
            state = states.get((mailbox, stream_id))
            is_gone = state is not None and not state.queued
            cancellation = self.memory.went(mailbox, stream_id, is_gone=is_gone)
            if cancellation is not None:
                vanished.append((mailbox, cancellation))
        return vanished

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

    async def _look_into(self, rows: Iterable[Superseded]) -> None:
        """Forget mailboxes whose newer row is not there, as when it was never stored.

        Where it is there, the older row was acknowledged in the meantime.
        """
        newer = {(row.mailbox, row.newer_stream_id) for row in rows}
        states = await self.database.read_queued(self.queue, newer)
        for place in newer:
            state = states.get(place)
            if state is None or not state.queued:
                self.memory.forget(place[0])

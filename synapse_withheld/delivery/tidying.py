"""Delete superseded rows, after their newer row is in the mailbox for all to see."""

from __future__ import annotations

from collections import deque
from typing import Callable, Iterable

import attrs

from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import MOST_DELETED
from synapse_withheld.database.database import Database
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.waiting import Runtime
from synapse_withheld.memory.index import Index
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.mailbox import MailboxKey, Superseded

# How many rows may wait to be deleted. Beyond, their mailboxes are forgotten:
# the next notice reads them again and finds what is left.
MOST_WAITING = 10_000

# The newer row may be stored while an earlier stream ID is still being written;
# until then readers do not see it. In seconds.
LOOK_AGAIN_S = 0.05
LOOKS = 200


@attrs.define
class Tidier:
    """A queue of rows to delete, worked off in the background in order.

    Attributes:
        queue: Which queue the rows are in.
        stream_token: The position up to which readers see the stream.
    """

    queue: Queue
    index: Index
    store: Database
    metrics: Metrics
    failures: Failures
    runtime: Runtime
    stream_token: Callable[[], int]
    _waiting: deque[Superseded] = attrs.field(factory=deque, init=False)
    _running: bool = attrs.field(default=False, init=False)

    def add(self, superseded: Iterable[Superseded]) -> None:
        """Queue rows to be deleted."""
        for row in superseded:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(row)
            else:
                self.index.forget(row.mailbox)
        if self._waiting and not self._running:
            self._running = True
            self.runtime.as_process("withheld_tidy", self._work)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._delete(await self._next_batch())
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("tidy", error)
        finally:
            self._running = False

    async def _delete(self, batch: list[Superseded]) -> None:
        if not batch:
            return
        try:
            deleted = await self.store.delete_superseded(batch)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("tidy", error)
            # What is left over is found when the mailboxes are next read.
            self._forget({row.mailbox for row in batch})
            return
        self.metrics.tidied(self.queue.name, deleted)
        if deleted < len(batch):
            await self._look_into(batch)

    async def _look_into(self, batch: list[Superseded]) -> None:
        """Forget mailboxes whose newer row is not there, as when it was never stored.

        Where it is there, the older row was acknowledged in the meantime.
        """
        newer = {(row.mailbox, row.newer_stream_id) for row in batch}
        rows = {}
        try:
            rows = await self.store.read_queued(newer)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("tidy", error)
        queued = {key for key, row in rows.items() if row.queued}
        self._forget({mailbox for mailbox, _ in newer - queued})

    async def _next_batch(self) -> list[Superseded]:
        size = min(len(self._waiting), MOST_DELETED)
        batch = [self._waiting.popleft() for _ in range(size)]
        for _ in range(LOOKS):
            if self.stream_token() >= max(row.newer_stream_id for row in batch):
                break
            await self.runtime.sleep(LOOK_AGAIN_S)
        else:
            self._forget({row.mailbox for row in batch})
            return []
        return batch

    def _forget(self, mailboxes: Iterable[MailboxKey]) -> None:
        for mailbox in mailboxes:
            self.index.forget(mailbox)

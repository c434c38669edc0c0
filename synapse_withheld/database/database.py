"""Ask the database and tidy it: the statements, a bounded number of keys each."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Iterable, Mapping, Sequence, TypeVar

import attrs

from synapse_withheld.database import backlog, inbox
from synapse_withheld.database.backlog import BacklogRow, Place
from synapse_withheld.database.cancelling import Cancellable, ConnectionOf
from synapse_withheld.database.inbox_deletions import withheld_delete_vanished
from synapse_withheld.database.queues import INBOX, Queue
from synapse_withheld.database.sql import (
    MOST_KEYS,
    Page,
    batches,
    most_deleted,
    most_pages,
)
from synapse_withheld.rules.identifiers import is_storable
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from synapse_withheld.rules.notice import Asker

# Awaitable: (description, function of a transaction and more arguments, those)
RunStatement = Callable[..., Awaitable[Any]]
T = TypeVar("T")


class StatementError(Exception):
    """One of the module's statements failed; the cause says how."""


@attrs.define(eq=False)
class Database:
    """Synapse's database, given a way to run a statement.

    Attributes:
        run: Awaitable `run(description, function, *arguments)`, which calls
            `function(transaction, *arguments)` in a database thread and commits by
            itself.
        driver: As Synapse names it: `sqlite3` or `psycopg2`.
        connection_of: Tells which connection of the driver a transaction runs on, so
            that a statement can be cancelled.
        watchdog: Calls what cancels a statement once that has been out for too long;
            returns Twisted's delayed call. Without it none is cancelled.
        stream_token: Tells the position up to which readers see the stream of
            to-device messages; by default the table is asked.
    """

    run: RunStatement
    driver: str
    connection_of: ConnectionOf = attrs.field(default=lambda _: None, kw_only=True)
    watchdog: Callable[[Callable[[], None]], Any] | None = attrs.field(
        default=None, kw_only=True
    )
    stream_token: Callable[[], int] | None = attrs.field(default=None, kw_only=True)
    _newest: int | None = attrs.field(default=None, init=False)

    @property
    def most_pages(self) -> int:
        return most_pages(self.driver)

    async def read_devices(self, user_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the devices of each user that to-device messages can reach."""
        found: dict[str, list[str]] = {}
        for some in await self._run_each(inbox.withheld_read_devices, user_ids):
            for user_id, device_id in some:
                found.setdefault(user_id, []).append(device_id)
        return found

    async def gone(self, askers: Iterable[Asker]) -> set[Asker]:
        """Return which devices do not exist any more, without a statement for none.

        Those whose names no database takes count as there: anybody may send any.
        """
        storable = [each for each in askers if all(map(is_storable, each))]
        gone = await self._run_each(inbox.withheld_read_gone, storable)
        return set[Asker]().union(*gone)

    async def read_pages(
        self, queue: Queue, below: Mapping[MailboxKey, int], texts: Sequence[str]
    ) -> dict[MailboxKey, Page]:
        """Read a page of each of at most `most_pages` mailboxes, where devices exist.

        `below` is what each begins below, `ABOVE_ALL` for the newest; the text of every
        row with a notice contains one of `texts`.
        """
        return await self._run(queue.read_pages, below, texts)

    async def read_ends(
        self, queue: Queue, mailboxes: Sequence[MailboxKey]
    ) -> dict[MailboxKey, tuple[int, int]]:
        """Return the oldest and the newest stream ID of mailboxes, 0 for none.

        Of at most `MOST_KEYS`; those without a device are left out.
        """
        assert queue.read_ends is not None  # noqa: S101 the caller looked
        return await self._run(queue.read_ends, mailboxes)

    async def read_queued(
        self, queue: Queue, rows: Iterable[tuple[MailboxKey, int]]
    ) -> dict[tuple[MailboxKey, int], RowState]:
        """Tell what became of rows, but for those of devices that are gone or going."""
        queued: dict[tuple[MailboxKey, int], RowState] = {}
        for some in await self._run_each(queue.read_queued, rows):
            queued.update(some)
        return queued

    async def delete(
        self, superseded: Iterable[Superseded], queue: Queue = INBOX
    ) -> int:
        """Delete rows whose newer row is in the mailbox; return how many."""
        deleted = 0
        for some in batches(superseded, most_deleted(self.driver)):
            deleted += await self._run(queue.delete_superseded, self.driver, some)
        return deleted

    async def delete_vanished(self, rows: Iterable[tuple[MailboxKey, int]]) -> int:
        """Delete rows of the inbox without a newer one; return how many."""
        deleted = 0
        for some in batches(rows, MOST_KEYS):
            deleted += await self._run(withheld_delete_vanished, self.driver, some)
        return deleted

    async def estimate(self) -> int:
        """Estimate how many rows all mailboxes have together; 0 if that is unknown."""
        return await self._run(backlog.withheld_estimate_backlog, self.driver)

    async def settled(self) -> int:
        """Return a position up to which every reader sees the stream.

        Without Synapse to tell, it is where the newest row was when this was last
        asked: what was being written beside it is written by now.
        """
        if self.stream_token is not None:
            return self.stream_token()
        newest = await self._run(backlog.withheld_read_newest)
        settled, self._newest = self._newest, newest
        return newest if settled is None else settled

    async def read(self, before: Place | None, limit: int) -> list[BacklogRow]:
        read = backlog.withheld_read_backlog
        return await self._run(read, self.driver, before, limit)

    async def doomed(self, mailboxes: Iterable[MailboxKey]) -> set[MailboxKey]:
        doomed = await self._run_each(backlog.withheld_read_doomed, mailboxes)
        return set[MailboxKey]().union(*doomed)

    async def _run_each(
        self, function: Callable[..., T], keys: Iterable[Any]
    ) -> list[T]:
        """Run a statement about as many keys at a time as one may name."""
        return [await self._run(function, some) for some in batches(keys, MOST_KEYS)]

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a statement, under the name of its function.

        Raises:
            StatementError: It failed, or was cancelled because it did not come back.
        """
        statement = Cancellable(function, self.connection_of)
        timer = None if self.watchdog is None else self.watchdog(statement.cancel)
        try:
            result: T = await self.run(function.__name__, statement, *arguments)
        except Exception as error:
            raise StatementError(function.__name__) from error
        finally:
            if timer is not None and timer.active():
                timer.cancel()
        return result

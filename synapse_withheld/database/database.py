"""Ask the database and tidy it: the statements, a bounded number of keys each."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Iterable, Mapping, Sequence

from synapse_withheld.database.backlog import (
    BacklogRow,
    Place,
    withheld_estimate_backlog,
    withheld_read_backlog,
    withheld_read_doomed,
    withheld_read_newest,
)
from synapse_withheld.database.cancelling import Cancellable, ConnectionOf
from synapse_withheld.database.deletions import withheld_delete_vanished
from synapse_withheld.database.devices import (
    withheld_read_devices,
    withheld_read_gone,
)
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


class StatementError(Exception):
    """One of the module's statements failed; the cause says how."""


class Database:
    """Synapse's database, given a way to run a statement."""

    def __init__(
        self,
        run: RunStatement,
        driver: str,
        *,
        connection_of: ConnectionOf = lambda _: None,
        watchdog: Callable[[Callable[[], None]], Any] | None = None,
        stream_token: Callable[[], int] | None = None,
    ) -> None:
        """Keep what runs a statement.

        Args:
            run: Awaitable `run(description, function, *arguments)`, which calls
                `function(transaction, *arguments)` in a database thread and
                commits by itself.
            driver: As Synapse names it: `sqlite3` or `psycopg2`.
            connection_of: Tells which connection of the driver a transaction runs on,
                so that a statement can be cancelled.
            watchdog: Calls what cancels a statement once that has been out for too
                long; returns Twisted's delayed call. Without it none is cancelled.
            stream_token: Tells the position up to which readers see the stream of
                to-device messages; by default the table is asked.
        """
        self._run_statement = run
        self._driver = driver
        self._stream_token = stream_token
        self._connection_of = connection_of
        self._watchdog = watchdog
        self._newest: int | None = None

    @property
    def most_pages(self) -> int:
        return most_pages(self._driver)

    async def read_devices(self, user_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the devices of each user that to-device messages can reach."""
        devices: dict[str, list[str]] = {}
        for some in batches(user_ids, MOST_KEYS):
            for user_id, device_id in await self._run(withheld_read_devices, some):
                devices.setdefault(user_id, []).append(device_id)
        return devices

    async def gone(self, askers: Iterable[Asker]) -> set[Asker]:
        """Return which devices do not exist any more, without a statement for none.

        Those whose names no database takes count as there: anybody may send any.
        """
        gone: set[Asker] = set()
        storable = (each for each in askers if all(map(is_storable, each)))
        for some in batches(storable, MOST_KEYS):
            gone.update(await self._run(withheld_read_gone, some))
        return gone

    async def read_pages(
        self, queue: Queue, below: Mapping[MailboxKey, int], texts: Sequence[str]
    ) -> dict[MailboxKey, Page]:
        """Read a page of each mailbox whose device exists, as far as that is known.

        Args:
            queue: Whose mailboxes they are.
            below: The stream IDs that the pages begin below, `ABOVE_ALL` for the
                newest; at most `most_pages`.
            texts: What the text of every row with a notice contains one of.
        """
        pages: dict[MailboxKey, Page] = await self._run(queue.read_pages, below, texts)
        return pages

    async def read_ends(
        self, queue: Queue, mailboxes: Sequence[MailboxKey]
    ) -> dict[MailboxKey, tuple[int, int]]:
        """Return the oldest and the newest stream ID of mailboxes, 0 for none.

        At most of `MOST_KEYS`, in a queue that has `read_ends`; those without a device
        are left out.
        """
        assert queue.read_ends is not None  # noqa: S101 the caller looked
        ends: dict[MailboxKey, tuple[int, int]]
        ends = await self._run(queue.read_ends, mailboxes)
        return ends

    async def read_queued(
        self, queue: Queue, rows: Iterable[tuple[MailboxKey, int]]
    ) -> dict[tuple[MailboxKey, int], RowState]:
        """Tell what became of rows, named by mailbox and stream ID.

        Those of devices that do not exist, or are being deleted, are left out.
        """
        queued: dict[tuple[MailboxKey, int], RowState] = {}
        for some in batches(rows, MOST_KEYS):
            queued.update(await self._run(queue.read_queued, some))
        return queued

    async def delete(
        self, superseded: Iterable[Superseded], queue: Queue = INBOX
    ) -> int:
        """Delete rows whose newer row is in the mailbox; return how many."""
        deleted = 0
        for some in batches(superseded, most_deleted(self._driver)):
            deleted += await self._run(queue.delete_superseded, self._driver, some)
        return deleted

    async def delete_vanished(self, rows: Iterable[tuple[MailboxKey, int]]) -> int:
        """Delete rows of the inbox that nothing newer makes redundant.

        Unless a deletion of their device is about to delete them; return how many.
        """
        deleted = 0
        for some in batches(rows, MOST_KEYS):
            deleted += await self._run(withheld_delete_vanished, self._driver, some)
        return deleted

    async def estimate(self) -> int:
        """Estimate how many rows all mailboxes have together; 0 if that is unknown."""
        rows: int = await self._run(withheld_estimate_backlog, self._driver)
        return rows

    async def settled(self) -> int:
        """Return a position up to which every reader sees the stream.

        Without Synapse to tell, it is where the newest row was when this was last
        asked: what was being written beside it is written by now.
        """
        if self._stream_token is not None:
            return self._stream_token()
        newest: int = await self._run(withheld_read_newest)
        settled, self._newest = self._newest, newest
        return newest if settled is None else settled

    async def read(self, before: Place | None, limit: int) -> list[BacklogRow]:
        """Read rows of all mailboxes against the order of the index."""
        rows: list[BacklogRow] = await self._run(
            withheld_read_backlog, self._driver, before, limit
        )
        return rows

    async def doomed(self, mailboxes: Iterable[MailboxKey]) -> set[MailboxKey]:
        """Tell which mailboxes a deletion of their device is about to empty."""
        doomed: set[MailboxKey] = set()
        for some in batches(mailboxes, MOST_KEYS):
            doomed |= await self._run(withheld_read_doomed, some)
        return doomed

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a statement, under the name of its function.

        Raises:
            StatementError: It failed, or was cancelled because it did not come back.
        """
        statement = Cancellable(function, self._connection_of)
        timer = None if self._watchdog is None else self._watchdog(statement.cancel)
        try:
            return await self._run_statement(function.__name__, statement, *arguments)
        except Exception as error:
            raise StatementError(function.__name__) from error
        finally:
            if timer is not None and timer.active():
                timer.cancel()

"""Ask the database and tidy it: the statements, a bounded number of keys each."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Iterable, Sequence

from synapse_withheld.database.devices import (
    withheld_read_devices,
    withheld_read_gone,
)
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import MailboxReading, batches
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from synapse_withheld.rules.notice import Asker

# Awaitable: (description, function of a transaction and more arguments, those)
RunStatement = Callable[..., Awaitable[Any]]


class StatementError(Exception):
    """One of the module's statements failed."""


class Store:
    """The statements about one queue, given a way to run one."""

    def __init__(self, run: RunStatement, queue: Queue) -> None:
        """Keep what runs a statement.

        Args:
            queue: What the statements are about.
            run: Awaitable `run(description, function, *arguments)`, which calls
                `function(transaction, *arguments)` in a database thread and
                commits by itself.
        """
        self._run_statement = run
        self._queue = queue

    async def read_devices(self, user_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the devices of each user that to-device messages can reach."""
        devices: dict[str, list[str]] = {}
        for some in batches(user_ids):
            rows = await self._run(withheld_read_devices, some)
            for user_id, device_id in rows:
                devices.setdefault(user_id, []).append(device_id)
        return devices

    async def read_gone(self, askers: Iterable[Asker]) -> set[Asker]:
        """Return which devices do not exist any more, without a statement for none."""
        gone: set[Asker] = set()
        for some in batches(askers):
            gone.update(await self._run(withheld_read_gone, some))
        return gone

    async def read_mailboxes(
        self, mailboxes: Iterable[MailboxKey], marks: Sequence[str]
    ) -> dict[MailboxKey, MailboxReading]:
        """Read what may be notices in mailboxes, a bounded number of rows of each.

        Args:
            mailboxes: Which.
            marks: What the text of every row with a notice contains one of.

        Returns:
            A reading for each mailbox whose device exists, as far as that is known.
        """
        readings: dict[MailboxKey, MailboxReading] = {}
        for some in batches(mailboxes):
            readings.update(await self._run(self._queue.read_mailboxes, some, marks))
        return readings

    async def read_queued(
        self, rows: Iterable[tuple[MailboxKey, int]]
    ) -> dict[tuple[MailboxKey, int], RowState]:
        """Tell what became of rows, named by mailbox and stream ID.

        Those of devices that do not exist, or are being deleted, are left out.
        """
        queued: dict[tuple[MailboxKey, int], RowState] = {}
        for some in batches(rows):
            queued.update(await self._run(self._queue.read_queued, some))
        return queued

    async def delete_superseded(self, superseded: Sequence[Superseded]) -> int:
        """Delete rows whose newer row is in the mailbox, at most `MOST_DELETED`.

        Returns:
            How many were deleted.
        """
        deleted: int = await self._run(self._queue.delete_superseded, superseded)
        return deleted

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._run_statement(function.__name__, function, *arguments)
        except ValueError:
            # The driver refused a parameter: somebody's strange identifier, not
            # a sign that the database is in trouble.
            raise
        except Exception as error:
            raise StatementError(function.__name__) from error

"""What the sweep asks of the database, given a way to run a statement."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Sequence

from synapse_withheld.database.backlog import (
    BacklogRow,
    Place,
    most_covered,
    withheld_estimate_backlog,
    withheld_read_backlog,
    withheld_read_doomed,
    withheld_read_newest,
)
from synapse_withheld.database.devices import withheld_read_gone
from synapse_withheld.database.inbox import withheld_delete_superseded
from synapse_withheld.database.sql import batches
from synapse_withheld.database.store import RunStatement
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Asker


class Backlog:
    """The rows of `device_inbox` as the sweep sees them."""

    def __init__(
        self,
        run: RunStatement,
        driver: str,
        stream_token: Callable[[], int] | None = None,
    ) -> None:
        """Keep what runs a statement.

        Args:
            run: Awaitable `run(description, function, *arguments)`.
            driver: As Synapse names it: `sqlite3` or `psycopg2`.
            stream_token: Tells the position up to which readers see the stream;
                by default the table is asked.
        """
        self._run = run
        self._driver = driver
        self._stream_token = stream_token
        self._newest: int | None = None

    async def estimate(self) -> int:
        """Estimate how many rows there are; 0 if that is unknown."""
        rows: int = await self._ask(withheld_estimate_backlog, self._driver)
        return rows

    async def settled(self) -> int:
        """Return a position up to which every reader sees the stream.

        Without Synapse to tell, it is where the newest row was when this was last
        asked: what was being written beside it is written by now.
        """
        if self._stream_token is not None:
            return self._stream_token()
        newest: int = await self._ask(withheld_read_newest)
        settled, self._newest = self._newest, newest
        return newest if settled is None else settled

    async def read(self, before: Place | None, limit: int) -> list[BacklogRow]:
        """Read rows against the order of the index."""
        rows: list[BacklogRow] = await self._ask(
            withheld_read_backlog, self._driver, before, limit
        )
        return rows

    async def gone(self, askers: Iterable[Asker]) -> set[Asker]:
        """Tell which devices do not exist any more."""
        gone: set[Asker] = set()
        for some in batches(askers):
            gone.update(await self._ask(withheld_read_gone, some))
        return gone

    async def doomed(self, mailboxes: Iterable[MailboxKey]) -> set[MailboxKey]:
        """Tell which mailboxes a deletion of their device is about to empty."""
        doomed: set[MailboxKey] = set()
        for some in batches(mailboxes):
            doomed |= await self._ask(withheld_read_doomed, some)
        return doomed

    async def delete(self, superseded: Sequence[Superseded]) -> int:
        """Delete rows whose newer row is in the mailbox; return how many."""
        deleted = 0
        most = most_covered(self._driver)
        for start in range(0, len(superseded), most):
            some = superseded[start : start + most]
            deleted += await self._ask(withheld_delete_superseded, some)
        return deleted

    async def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._run(function.__name__, function, *arguments)

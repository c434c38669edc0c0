"""Walk ahead: read the next rows while somebody looks at these."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, List, Tuple

from synapse_withheld.cli.walking.database import Connection

Statement = Callable[..., List[Any]]
# The statement, the place that the last row was at, how many rows, and what else.
_Asked = Tuple[Any, ...]
_Reading = Tuple[_Asked, "Future[List[Any]]"]


class Ahead:
    """Reads in a thread with a connection of its own."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """Connect in the thread: SQLite's connections are for one thread alone."""
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._connection = self._thread.submit(connect).result()
        self._next: _Reading | None = None

    async def walk(
        self, statement: Statement, before: Any, limit: int, *more: Any
    ) -> list[Any]:
        """Return the rows of a statement that walks.

        Whoever looks at all but the last, asks next from the one before on; these are
        read meanwhile.
        """
        asked = (statement, before, limit, *more)
        read = self._next
        if read is None or read[0] != asked:
            read = self._begin(asked)
        rows = read[1].result()
        self._next = None
        if len(rows) == limit > 1:
            # All columns but the text and its length.
            self._next = self._begin((statement, rows[-2][:-2], limit, *more))
        return rows

    def close(self) -> None:
        """Wait for what is being read, and close the connection."""
        self._thread.submit(self._connection.close)
        self._thread.shutdown()

    def _begin(self, asked: _Asked) -> _Reading:
        return asked, self._thread.submit(self._read, *asked)

    def _read(self, statement: Statement, *arguments: Any) -> list[Any]:
        rows: list[Any] = self._connection.try_statement(
            statement.__name__, statement, self._connection.driver, *arguments
        )
        return rows

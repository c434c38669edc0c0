"""Do two things at once: read ahead in a thread, and walk a part in a process."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import Any, Callable, Iterator

from synapse_withheld.cli.walking.database import Connection, DatabaseError
from synapse_withheld.cli.walking.walk import Rest, driven, handled
from synapse_withheld.database.database import StatementError
from synapse_withheld.database.survey import Walk


@contextmanager
def reading_ahead(connect: Callable[[], Connection]) -> Iterator[Walk]:
    """Give what runs a statement that walks, in a thread with a connection of its own.

    Whoever looks at all rows but the last, asks next from the one before on; these
    are read meanwhile.
    """
    ahead: dict[tuple[Any, ...], Future[list[Any]]] = {}

    def begin(statement: Any, *more: Any) -> Future[list[Any]]:
        run = connection.run(statement.__name__, statement, connection.driver, *more)
        return thread.submit(driven, run)

    async def walk(statement: Any, before: Any, limit: int, *more: Any) -> list[Any]:
        asked = (statement, before, limit, *more)
        rows = (ahead.pop(asked, None) or begin(*asked)).result()
        ahead.clear()
        if len(rows) == limit > 1:
            # All columns but the text and its length.
            following = (statement, rows[-2][:-2], limit, *more)
            ahead[following] = begin(*following)
        return rows

    with ThreadPoolExecutor(max_workers=1) as thread:
        # SQLite's connections are for one thread alone.
        connection = thread.submit(connect).result()
        try:
            yield walk
        finally:
            thread.submit(connection.close)


class Aside:
    """A function that runs in a second process, as long as this one lives.

    Attributes:
        rows: How many rows it has told of.
        result: What it returned; `None` as long as it runs.
    """

    def __init__(self, function: Callable[[Rest], Any]) -> None:
        self.rows = 0
        self.result: Any = None
        # Who forks would take locks of other threads along.
        context = get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, function))
        # A terminal sends Ctrl-C to both processes.
        with handled(signal.SIG_IGN):
            self._process.start()
        there.close()

    def hear(self, wait_s: float = 0) -> None:
        """Take what it has told; wait for that, if it has told nothing."""
        while self.result is None and self._pipe.poll(wait_s):
            wait_s = 0
            try:
                told = self._pipe.recv()
            except (EOFError, ConnectionError):
                raise DatabaseError("The second process ended too early") from None
            if isinstance(told, int):
                self.rows = told
            elif isinstance(told, DatabaseError):
                raise told
            else:
                self.result = told

    def stop(self) -> None:
        """Have it return after its batch."""
        with suppress(ConnectionError):
            self._pipe.send(None)

    def close(self) -> None:
        """Wait for its batch, whatever becomes of it."""
        self._pipe.close()
        self._process.join()


def _work(pipe: Pipe, function: Callable[[Rest], Any]) -> None:
    def rest(rows: int, pause_s: float) -> bool:
        pipe.send(rows)
        # What comes is that it is to stop, or the end of the other process.
        return pipe.poll(pause_s)

    with suppress(ConnectionError):
        try:
            pipe.send(function(rest))
        except DatabaseError as error:
            pipe.send(error)
        except StatementError as error:
            pipe.send(error.__cause__)

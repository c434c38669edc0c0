"""Walk aside: a part of the work in a process of its own, as long as this one lives."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import Any, Callable

from synapse_withheld.cli.walking.database import DatabaseError
from synapse_withheld.database.database import StatementError

# Called after each batch with how many rows there were so far, and how long to rest:
# it rests, and returns whether to stop.
Rest = Callable[[int, float], bool]


class Aside:
    """A function that runs in a second process.

    Attributes:
        rows: How many rows it has told of.
        result: What it returned; `None` as long as it runs.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin; the function gets a `Rest` before the arguments."""
        self.rows = 0
        self.result: Any = None
        # Who forks would take locks of other threads along.
        context = get_context("spawn")
        self._told, tell = context.Pipe(duplex=False)
        # Nothing is ever sent: it ends with this process, if not before.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(tell, lifeline, function, arguments)
        )
        # A terminal sends Ctrl-C to both processes.
        asked = (signal.SIGINT, signal.SIGTERM)
        earlier = [(each, signal.signal(each, signal.SIG_IGN)) for each in asked]
        try:
            self._process.start()
        finally:
            for each, handler in earlier:
                signal.signal(each, handler)
        tell.close()
        lifeline.close()

    def hear(self, wait_s: float = 0) -> None:
        """Take what it has told; wait for that, if it has told nothing.

        Raises:
            DatabaseError: It failed.
        """
        while self.result is None and self._told.poll(wait_s):
            wait_s = 0
            try:
                told = self._told.recv()
            except EOFError:
                raise DatabaseError("the second process ended too early") from None
            if isinstance(told, int):
                self.rows = told
            elif isinstance(told, DatabaseError):
                raise told
            else:
                self.result = told

    def stop(self) -> None:
        """Have it return after its batch."""
        self._lifeline.close()

    def close(self) -> None:
        """Wait for its batch, whatever becomes of it."""
        self.stop()
        # It does not wait for somebody to listen.
        self._told.close()
        self._process.join()


def _work(
    pipe: Pipe, lifeline: Pipe, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    def rest(rows: int, pause_s: float) -> bool:
        pipe.send(rows)
        return lifeline.poll(pause_s)

    with suppress(BrokenPipeError):
        try:
            pipe.send(function(rest, *arguments))
        except DatabaseError as error:
            pipe.send(error)
        except StatementError as error:
            # Its cause would not come along.
            pipe.send(DatabaseError(str(error.__cause__)))

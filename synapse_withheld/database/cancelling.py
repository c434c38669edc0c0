"""Cancel a statement that hangs, from outside of its thread."""

from __future__ import annotations

import logging
from threading import Lock, Thread
from typing import Any, Callable

import attrs

logger = logging.getLogger(__name__)

# Returns the connection of the database's driver that a transaction runs on, `None`
# where it cannot be reached.
ConnectionOf = Callable[[Any], Any]


class CancelledStatementError(Exception):
    """A statement was cancelled."""


@attrs.define(eq=False)
class Cancellable:
    """A function of one statement, which can be cancelled while it runs."""

    _function: Callable[..., Any]
    _connection_of: ConnectionOf
    _connection: Any = attrs.field(default=None, init=False)
    _is_cancelled: bool = attrs.field(default=False, init=False)
    _lock: Any = attrs.field(factory=Lock, init=False)

    def __call__(self, txn: Any, *arguments: Any) -> Any:
        """Run it, in a database thread.

        Raises:
            CancelledStatementError: It was cancelled. Not the driver's own error:
                Synapse would try again, five times.
        """
        with self._lock:
            if self._is_cancelled:
                raise CancelledStatementError
            self._connection = self._connection_of(txn)
        try:
            return self._function(txn, *arguments)
        except Exception as error:
            if self._is_cancelled:
                raise CancelledStatementError from error
            raise
        finally:
            # Not before a cancellation that is being sent has arrived: the connection
            # is somebody else's next, whose statement it would end.
            with self._lock:
                self._connection = None

    def cancel(self) -> None:
        """Cancel it, without waiting for that.

        Where its connection cannot be reached, it runs on, but not again.
        """
        # A thread, as psycopg2 opens a connection to say so. It keeps nobody alive.
        Thread(target=self._cancel, name="withheld_cancel", daemon=True).start()

    def _cancel(self) -> None:
        with self._lock:
            self._is_cancelled = True
            # Of psycopg2, or else of sqlite3.
            interrupt = getattr(self._connection, "interrupt", lambda: None)
            try:
                getattr(self._connection, "cancel", interrupt)()
            except Exception:
                logger.exception("synapse_withheld cannot cancel a statement")

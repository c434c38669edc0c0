"""The homeserver, as far as the parts need it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from typing import Any, Awaitable, Callable, ContextManager, Protocol

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from synapse_withheld.database.database import Database


class Call(Protocol):
    """A call to come, as Twisted's."""

    def active(self) -> bool: ...

    def cancel(self) -> object: ...


@attrs.frozen
class Runtime:
    """How the homeserver runs things, with its rules for log contexts.

    Attributes:
        call_later: `call_later(seconds, function)`.
        as_process: `as_process(description, function, *arguments)` starts an async
            function that must not raise, as a process in the background.
        yieldable: Makes a deferred safe to await.
        outside_any_log_context: A context in which deferreds that others await may
            be fired.
        sleep: Sleeps for some seconds.
        seconds: A clock that never goes back, in seconds.
        now_ts: The time of day, in milliseconds since 1970.
    """

    call_later: Callable[[float, Callable[[], None]], Call]
    as_process: Callable[..., Deferred[Any]]
    yieldable: Callable[[Deferred[Any]], Awaitable[Any]]
    outside_any_log_context: Callable[[], ContextManager[Any]]
    sleep: Callable[[float], Awaitable[None]]
    seconds: Callable[[], float]
    now_ts: Callable[[], int]


class Homeserver(Protocol):
    @property
    def sees_reads(self) -> bool:
        """Say whether every read of a mailbox passes this process."""

    @property
    def database_driver(self) -> str:
        """Return the name of the database's driver: `sqlite3` or `psycopg2`."""

    def connection_of(self, txn: Any) -> Any:
        """Return the driver's connection of a transaction, `None` if out of reach."""

    def runtime(self) -> Runtime: ...

    def stream_token(self) -> int:
        """Return the position up to which readers see to-device messages."""

    def device_list_id(self) -> int:
        """Return the position of the device list stream."""

    def reader_never_acknowledges(self, user_id: str) -> bool: ...

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement outside any transaction."""


def database_of(synapse: Homeserver, cancel_after_s: float) -> Database:
    """Return a homeserver's database, which cancels what is out for too long."""
    return Database(
        synapse.run_statement,
        synapse.database_driver,
        connection_of=synapse.connection_of,
        watchdog=partial(synapse.runtime().call_later, cancel_after_s),
        stream_token=synapse.stream_token,
    )


def now_ts() -> int:
    """Return the time of day, in milliseconds since 1970."""
    return round(time.time() * 1000)


def at_once(clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> Runtime:
    """Return a runtime without a homeserver: all runs at once, until it has to wait."""
    return Runtime(
        call_later=clock.callLater,
        as_process=lambda _, function, *args: ensureDeferred(function(*args)),
        yieldable=lambda deferred: deferred,
        outside_any_log_context=nullcontext,
        sleep=sleep,
        seconds=clock.seconds,
        now_ts=lambda: round(clock.seconds() * 1000),
    )

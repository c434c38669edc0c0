"""How the homeserver runs things, as the parts need it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any, Awaitable, Callable, ContextManager, Protocol

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock


class Call(Protocol):
    """A call to come."""

    def active(self) -> bool:
        """Say whether it is still to come."""

    def cancel(self) -> object:
        """Call it off."""


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


def now_ts() -> int:
    """Return the time of day, in milliseconds since 1970."""
    return round(time.time() * 1000)


def at_once(clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> Runtime:
    """Return a runtime without a homeserver: all runs at once, until it has to wait.

    Args:
        clock: Whose time it is.
        sleep: Sleeps for some seconds.
    """
    return Runtime(
        call_later=clock.callLater,
        as_process=lambda _, function, *args: ensureDeferred(function(*args)),
        yieldable=lambda deferred: deferred,
        outside_any_log_context=nullcontext,
        sleep=sleep,
        seconds=clock.seconds,
        now_ts=lambda: round(clock.seconds() * 1000),
    )

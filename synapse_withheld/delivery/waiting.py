"""Wait for locks and statements, but never longer than patience allows."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any, Awaitable, Callable, ContextManager, Protocol, TypeVar

import attrs
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredLock,
    ensureDeferred,
)
from twisted.internet.task import Clock

T = TypeVar("T")

# How long a batch may be held up by a lock, and again by each statement, in
# seconds, before it is delivered as it is.
PATIENCE_S = 2.0


class PatienceEndedError(Exception):
    """Something took longer than a message should have to wait."""


class Call(Protocol):
    """A call to come."""

    def cancel(self) -> object:
        """Call it off."""


@attrs.frozen
class Runtime:
    """How the homeserver runs things, with its rules for log contexts.

    Attributes:
        call_later: `call_later(seconds, function)`.
        in_background: `in_background(function, *arguments)` starts an async
            function on behalf of the current request.
        as_process: `as_process(description, function, *arguments)` starts an async
            function that must not raise, on behalf of nobody.
        yieldable: Makes a deferred safe to await.
        outside_any_log_context: A context in which deferreds that others await may
            be fired.
        sleep: Sleeps for some seconds.
        seconds: A clock that never goes back, in seconds.
        now_ts: The time of day, in milliseconds since 1970.
    """

    call_later: Callable[[float, Callable[[], None]], Call]
    in_background: Callable[..., Deferred[Any]]
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
        in_background=lambda function, *args: ensureDeferred(function(*args)),
        as_process=lambda _, function, *args: ensureDeferred(function(*args)),
        yieldable=lambda deferred: deferred,
        outside_any_log_context=nullcontext,
        sleep=sleep,
        seconds=clock.seconds,
        now_ts=lambda: round(clock.seconds() * 1000),
    )


async def wait_up_to(runtime: Runtime, seconds: float, deferred: Deferred[T]) -> T:
    """Wait for a deferred, which goes on undisturbed if patience ends first.

    Raises:
        PatienceEndedError: It took longer than `seconds`.
    """
    result: Deferred[T] = Deferred()

    def give_up() -> None:
        result.errback(PatienceEndedError(f"no answer within {seconds} s"))

    def pass_on(outcome: Any) -> None:
        if not result.called:
            call.cancel()
            result.callback(outcome)

    call = runtime.call_later(seconds, give_up)
    deferred.addBoth(pass_on)
    waited: T = await runtime.yieldable(result)
    return waited


class Shared:
    """One deferred that any number wait for, without a say in what it returns."""

    def __init__(self, source: Deferred[Any]) -> None:
        """Storing a deferred, whose failure becomes that of all who wait."""
        self._waiting: list[Deferred[Any]] | None = []
        self._outcome: Any = None
        source.addBoth(self._finish)

    def wait(self) -> Deferred[Any]:
        """Return a new deferred that fires when the shared one does."""
        deferred: Deferred[Any] = Deferred()
        if self._waiting is None:
            deferred.callback(self._outcome)
        else:
            self._waiting.append(deferred)
        return deferred

    def _finish(self, outcome: Any) -> None:
        waiting, self._waiting = self._waiting or [], None
        self._outcome = outcome
        for deferred in waiting:
            deferred.callback(outcome)


class SenderLocks:
    """One lock per sender, kept only while somebody holds or awaits it.

    Every batch has one sender and every pair belongs to one sender, so this
    orders all that can race, and nobody waits for anybody else's messages.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Start with no lock held."""
        self._runtime = runtime
        self._locks: dict[str, DeferredLock] = {}

    def __len__(self) -> int:
        """Count the locks that are kept."""
        return len(self._locks)

    async def acquire(self, sender: str, seconds: float) -> Callable[[], None]:
        """Take the sender's lock.

        Returns:
            What gives it back.

        Raises:
            PatienceEndedError: Others held it for longer than `seconds`.
        """
        lock = self._locks.setdefault(sender, DeferredLock())
        acquired = lock.acquire()
        call = self._runtime.call_later(seconds, acquired.cancel)
        try:
            await self._runtime.yieldable(acquired)
        except CancelledError:
            raise PatienceEndedError(f"lock not free within {seconds} s") from None
        call.cancel()

        def release() -> None:
            with self._runtime.outside_any_log_context():
                lock.release()
            if not lock.locked and self._locks.get(sender) is lock:
                del self._locks[sender]

        return release

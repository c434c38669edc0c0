"""Wait for what happens soon, run together, and clean up when interrupted."""

from __future__ import annotations

import signal
import sys
from typing import Any, Awaitable, Callable, Coroutine, TypeVar

import treq
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    ensureDeferred,
)
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

T = TypeVar("T")

# Far beyond what a loaded machine needs: the end of hope, not a measurement.
PATIENCE_S = 30.0
LOOK_AGAIN_S = 0.05
# Beyond it a test that would hang fails, and shows the server's log.
ANSWERS_WITHIN_S = 180.0

FAILED, INTERRUPTED = 2, 130

# Twisted decides at run time what kind it is.
reactor: Any = installed_reactor


def pause(seconds: float = LOOK_AGAIN_S) -> Deferred[None]:
    """Return a deferred that fires after some seconds."""
    return deferLater(reactor, seconds, lambda: None)


async def become(look: Callable[[], bool], within_s: float) -> bool:
    """Look until something is so; say whether it became so in time."""
    for _ in range(int(within_s / LOOK_AGAIN_S)):
        if look():
            return True
        await pause()
    return look()


async def eventually(look: Callable[[], T], expected: T) -> None:
    """Look until what is seen is what is expected."""
    await become(lambda: look() == expected, PATIENCE_S)
    assert look() == expected


async def until(look: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """Look until what is seen is good, and return it."""
    for _ in range(int(PATIENCE_S / LOOK_AGAIN_S)):
        if good(seen := await look()):
            return seen
        await pause()
    raise AssertionError(f"still not good after {PATIENCE_S:.0f} s: {seen!r}")


async def together(*coroutines: Coroutine[Deferred[Any], Any, Any]) -> list[Any]:
    """Run coroutines at the same time and return their results, in order.

    All of them have ended when this returns or raises, so that nothing goes on
    behind the back of what cleans up after an error.
    """
    deferreds = [ensureDeferred(coroutine) for coroutine in coroutines]
    results: Any = await DeferredList(deferreds, consumeErrors=True)
    for succeeded, failure in results:
        if not succeeded:
            failure.raiseException()
    return [result for _, result in results]


def cancellable(coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Run a coroutine that ends with `CancelledError` whenever it is cancelled.

    Twisted's HTTP client reports a request that was cancelled like one whose
    connection broke. Who goes on after errors would go on after Ctrl-C, too.
    """
    running = ensureDeferred(coroutine)

    def cancel(outer: Deferred[T]) -> None:
        outer.errback(CancelledError())
        running.cancel()

    outer: Deferred[T] = Deferred(cancel)

    def end(result: T | Failure) -> None:
        if not outer.called:
            outer.callback(result)

    running.addBoth(end)
    return outer


async def fetch(
    method: str, url: str, within_s: float = ANSWERS_WITHIN_S, **more: Any
) -> tuple[int, bytes]:
    """Make a request; return the status and the body of the answer."""

    async def exchange() -> tuple[int, bytes]:
        response = await treq.request(method, url, timeout=within_s, **more)
        return response.code, await response.content()

    return await cancellable(exchange())


def run(function: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run an async function; return the exit code that it returns.

    `FAILED` if it raised; `INTERRUPTED` if it did after the process was asked to end.
    """
    codes = [INTERRUPTED]
    running: list[Deferred[Any]] = []

    def begin() -> None:
        # Twisted's own handlers would end the reactor before all has been stopped.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, lambda *_: reactor.callFromThread(interrupt))
        deferred = ensureDeferred(function())
        running.append(deferred)
        deferred.addCallbacks(codes.append, fail)
        deferred.addBoth(lambda _: reactor.stop())

    def interrupt() -> None:
        # A second Ctrl-C must not cut the stopping short.
        while running:
            running.pop().cancel()

    def fail(failure: Any) -> None:
        # What is cancelled can fail in another way, such as a broken connection.
        if running:
            failure.printTraceback(sys.stderr)
            codes.append(FAILED)

    reactor.callLater(0, begin)
    reactor.run()
    return codes[-1]

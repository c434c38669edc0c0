"""Run coroutines at the same time, leave none running, and cancel for certain."""

from __future__ import annotations

from typing import Any, Coroutine, TypeVar

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    ensureDeferred,
)
from twisted.python.failure import Failure

T = TypeVar("T")


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

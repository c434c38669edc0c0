"""Wait for what happens soon, ask until there is an answer, clean up in the end."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import Any, Awaitable, Callable, Coroutine, Iterator, TypeVar

import attrs
import treq
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    ensureDeferred,
)
from twisted.internet.task import deferLater

T = TypeVar("T")

# Far beyond what a loaded machine needs: the end of hope, not a measurement.
PATIENCE_S = 30.0
LOOK_AGAIN_S = 0.05
# Beyond it a test that would hang fails, and shows the server's log.
ANSWERS_WITHIN_S = 180.0

TRY_AGAIN_S, TRY_WITHIN_S = 0.2, 60.0
# How long requests are made again, where something befell and where nothing did.
TRY_FOR_S, TRY_QUIETLY_FOR_S = 180.0, 5.0
# After a restart of the database each of Synapse's connections may fail once.
UNSETTLED_FOR_S = 15.0

FAILED, INTERRUPTED = 2, 130

# Twisted decides at run time what kind it is.
reactor: Any = installed_reactor


def pause(seconds: float = LOOK_AGAIN_S) -> Deferred[None]:
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
    ends = time.monotonic() + PATIENCE_S
    while not good(seen := await look()):
        assert time.monotonic() < ends, f"not good in {PATIENCE_S:.0f} s: {seen!r}"
        await pause()
    return seen


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


def fetch(
    method: str, url: str, within_s: float = ANSWERS_WITHIN_S, **more: Any
) -> Deferred[tuple[int, bytes]]:
    """Make a request; return the status and the body of the answer.

    It ends with `CancelledError` whenever it is cancelled, which Twisted's HTTP client
    reports like a broken connection: who asks again after that would never end.
    """

    async def exchange() -> tuple[int, bytes]:
        response = await treq.request(method, url, timeout=within_s, **more)
        return response.code, await response.content()

    def cancel(answer: Deferred[tuple[int, bytes]]) -> None:
        answer.errback(CancelledError())
        running.cancel()

    def end(result: Any) -> None:
        if not answer.called:
            answer.callback(result)

    answer: Deferred[tuple[int, bytes]] = Deferred(cancel)
    running = ensureDeferred(exchange())
    running.addBoth(end)
    return answer


async def read(url: str, **parameters: str) -> bytes:
    """Ask until the answer is good, and return it."""
    ask = partial(fetch, "GET", url, params=parameters)
    _, text = await until(ask, lambda answer: answer[0] == 200)
    return text


@attrs.define(eq=False)
class Patience:
    """The patience with one homeserver.

    Attributes:
        cut_off: Requests that had to be made again, by their numbers.
        failed: Requests that failed although nothing had befallen.
        troubled_until: Until when requests may fail.
    """

    cut_off: set[int] = attrs.Factory(set)
    failed: list[str] = attrs.Factory(list)
    troubled_until: float = 0.0

    @contextmanager
    def troubled(self) -> Iterator[None]:
        """Let requests fail for as long as something befalls the homeserver."""
        self.troubled_until = float("inf")
        yield
        self.troubled_until = time.monotonic() + UNSETTLED_FOR_S

    async def insist(
        self, number: int, ask: Callable[[], Coroutine[Deferred[Any], Any, T]]
    ) -> T:
        """Ask until there is an answer; raise if there is none for long."""
        began = time.monotonic()
        while True:
            try:
                return await ensureDeferred(ask()).addTimeout(TRY_WITHIN_S, reactor)
            except CancelledError:
                raise
            except Exception as error:
                is_troubled = time.monotonic() < self.troubled_until
                if not is_troubled:
                    self.failed.append(f"request {number}: {error!r}")
                try_for_s = TRY_FOR_S if is_troubled else TRY_QUIETLY_FOR_S
                if time.monotonic() - began > try_for_s:
                    raise
            self.cut_off.add(number)
            await pause(TRY_AGAIN_S)


def run(function: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run an async function; return the exit code that it returns.

    `FAILED` if it raised; `INTERRUPTED` if the process was asked to end before.
    """
    codes: list[int] = []

    def begin() -> None:
        running = ensureDeferred(function())
        running.addCallbacks(codes.append, fail)
        # The reactor waits for what this returns, however often it is asked to end.
        reactor.addSystemEventTrigger("before", "shutdown", interrupt, running)
        running.addBoth(lambda _: codes[0] == INTERRUPTED or reactor.stop())

    def interrupt(running: Deferred[Any]) -> Deferred[Any]:
        if not codes:
            codes.append(INTERRUPTED)
            running.cancel()
        return running

    def fail(failure: Any) -> None:
        # What is cancelled can fail in another way, such as a broken connection.
        if not codes:
            failure.printTraceback(sys.stderr)
            codes.append(FAILED)

    reactor.callWhenRunning(begin)
    reactor.run()
    return codes[0]

"""Run an async function in the reactor, and let it clean up if it is interrupted."""

from __future__ import annotations

import signal
import sys
from typing import Any, Callable, Coroutine

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred

from tests.harness.together import cancellable

FAILED, INTERRUPTED = 2, 130

reactor: Any = installed_reactor


def run(function: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run an async function; return the exit code that it returns.

    `FAILED` if it raised; `INTERRUPTED` if the process was asked to end.
    """
    codes = [INTERRUPTED]
    stopping: list[bool] = []

    def start() -> None:
        running: Deferred[Any] = cancellable(function())
        running.addCallbacks(codes.append, lambda failure: codes.append(_code(failure)))
        ended: Deferred[None] = Deferred()

        def end(_: None) -> None:
            ended.callback(None)
            if not stopping:
                reactor.stop()

        def interrupted() -> Deferred[None]:
            stopping.append(True)
            running.cancel()
            return ended

        reactor.addSystemEventTrigger("before", "shutdown", interrupted)
        running.addBoth(end)

    reactor.callWhenRunning(start)
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reactor.stop))
    reactor.run()
    return codes[-1]


def _code(failure: Any) -> int:
    if failure.check(CancelledError):
        return INTERRUPTED
    failure.printTraceback(sys.stderr)
    return FAILED

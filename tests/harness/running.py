"""Run an async function in the reactor, and let it clean up if it is interrupted."""

from __future__ import annotations

import signal
import sys
from typing import Any, Callable, Coroutine

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

FAILED, INTERRUPTED = 2, 130

# Twisted decides at run time what kind it is.
reactor: Any = installed_reactor


def run(function: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run an async function; return the exit code that it returns.

    `FAILED` if it raised; `INTERRUPTED` if it did after the process was asked to end.
    """
    codes = [INTERRUPTED]
    running: list[Deferred[Any]] = []
    interrupted: list[bool] = []

    def begin() -> None:
        # Twisted's own handlers would end the reactor before all has been stopped.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, lambda *_: reactor.callFromThread(interrupt))
        deferred = ensureDeferred(function())
        running.append(deferred)
        deferred.addCallbacks(codes.append, fail)
        deferred.addBoth(lambda _: reactor.stop())

    def interrupt() -> None:
        interrupted.append(True)
        # A second Ctrl-C must not cut the stopping short.
        while running:
            running.pop().cancel()

    def fail(failure: Any) -> None:
        # What is cancelled can fail in another way, such as a broken connection.
        if interrupted or failure.check(CancelledError):
            codes.append(INTERRUPTED)
            return
        failure.printTraceback(sys.stderr)
        codes.append(FAILED)

    reactor.callLater(0, begin)
    reactor.run()
    return codes[-1]

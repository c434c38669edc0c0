"""Run something asynchronous from the command line, to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Awaitable, Callable, TypeVar

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred

T = TypeVar("T")


def in_reactor(function: Callable[[], Awaitable[T]], interrupted: T) -> T:
    """Run an async function in the reactor, which can run once in a process.

    Args:
        function: What to run; whatever it raises is raised.
        interrupted: What to return after Ctrl-C.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        try:
            results.append(await function())
        except Exception as error:  # noqa: BLE001 `react` would log it and go on
            errors.append(error)

    def begin(_: Any) -> Deferred[None]:
        return ensureDeferred(run())

    with suppress(SystemExit):  # how `react` always ends
        task.react(begin)
    if errors:
        raise errors[0]
    return results[0] if results else interrupted

"""Run something asynchronous from the command line, to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Awaitable, Callable, Generic, TypeVar

import attrs
from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred

T = TypeVar("T")


@attrs.define
class _Run(Generic[T]):
    """One run, and how it ended."""

    function: Callable[[], Awaitable[T]]
    results: list[T] = attrs.field(factory=list)
    errors: list[Exception] = attrs.field(factory=list)

    async def main(self) -> None:
        """Run it and keep the outcome: `react` would log an error and go on."""
        try:
            self.results.append(await self.function())
        except Exception as error:  # noqa: BLE001 raised again outside of the reactor
            self.errors.append(error)

    def begin(self, _: Any) -> Deferred[None]:
        """Begin, once the reactor runs."""
        return ensureDeferred(self.main())


def in_reactor(function: Callable[[], Awaitable[T]], interrupted: T) -> T:
    """Run an async function in the reactor, which can run once in a process.

    Args:
        function: What to run.
        interrupted: What to return after Ctrl-C.

    Raises:
        Exception: Whatever it raises.
    """
    run = _Run(function)
    with suppress(SystemExit):  # how `react` always ends
        task.react(run.begin)
    if run.errors:
        raise run.errors[0]
    return run.results[0] if run.results else interrupted

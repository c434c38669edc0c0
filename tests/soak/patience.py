"""Make requests again until they are answered, as clients do."""

from __future__ import annotations

import time
from typing import Any, Awaitable, Callable, TypeVar, cast

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from tests.harness.waiting import cancellable, pause

T = TypeVar("T")

TRY_AGAIN_S, ANSWERED_WITHIN_S = 0.2, 30.0
# How long requests are made again, where something befell and where nothing did.
TRY_FOR_S, TRY_QUIETLY_FOR_S = 180.0, 5.0
# After a restart of the database each of Synapse's connections may fail once.
UNSETTLED_FOR_S = 15.0
_NO_ANSWER = object()


@attrs.define(eq=False)
class Patience:
    """The patience with one homeserver.

    Attributes:
        cut_off: Requests that had to be made again, by the number of the step.
        failed: Requests that failed although nothing had befallen.
        troubled_until: Until when requests may fail.
    """

    cut_off: set[int] = attrs.Factory(set)
    failed: list[str] = attrs.Factory(list)
    troubled_until: float = 0.0

    def trouble(self) -> None:
        """Note that something befalls the homeserver."""
        self.troubled_until = float("inf")

    def settle(self) -> None:
        """Note that it is over."""
        self.troubled_until = time.monotonic() + UNSETTLED_FOR_S

    async def insist(self, number: int, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer.

        Raises:
            Exception: There is none for long.
        """
        began = time.monotonic()
        while True:
            running = cancellable(cast("Any", ask()))
            running.addTimeout(ANSWERED_WITHIN_S, cast("Any", reactor))
            running.addErrback(self._note, number, began)
            answer = await running
            if answer is not _NO_ANSWER:
                return cast("T", answer)
            await pause(TRY_AGAIN_S)

    def _note(self, failure: Failure, number: int, began: float) -> object:
        is_troubled = time.monotonic() < self.troubled_until
        if not is_troubled:
            self.failed.append(f"step {number}: {failure.value!r}")
        try_for_s = TRY_FOR_S if is_troubled else TRY_QUIETLY_FOR_S
        is_cancelled = isinstance(failure.value, CancelledError)
        if is_cancelled or time.monotonic() - began > try_for_s:
            failure.raiseException()
        self.cut_off.add(number)
        return _NO_ANSWER

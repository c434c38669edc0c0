"""Make requests again until they are answered, as clients do."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, Coroutine, Iterator, TypeVar

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from tests.harness.waiting import cancellable, pause

T = TypeVar("T")

TRY_AGAIN_S, ANSWERED_WITHIN_S = 0.2, 60.0
# How long requests are made again, where something befell and where nothing did.
TRY_FOR_S, TRY_QUIETLY_FOR_S = 180.0, 5.0
# After a restart of the database each of Synapse's connections may fail once.
UNSETTLED_FOR_S = 15.0


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
        """Ask until there is an answer.

        Raises:
            Exception: There is none for long.
        """
        began = time.monotonic()
        clock: Any = reactor
        while True:
            try:
                running = cancellable(ask())
                return await running.addTimeout(ANSWERED_WITHIN_S, clock)
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

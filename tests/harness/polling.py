"""Wait for what happens soon, without fixed sleeps."""

from __future__ import annotations

from typing import Awaitable, Callable, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

T = TypeVar("T")

# Far beyond what a loaded machine needs: the end of hope, not a measurement.
PATIENCE_S = 30.0
LOOK_AGAIN_S = 0.05


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
    for _ in range(int(PATIENCE_S / LOOK_AGAIN_S)):
        if look() == expected:
            return
        await pause()
    assert look() == expected


async def until(look: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """Look until what is seen is good, and return it."""
    for _ in range(int(PATIENCE_S / LOOK_AGAIN_S)):
        if good(seen := await look()):
            return seen
        await pause()
    raise AssertionError(f"still not good after {PATIENCE_S:.0f} s: {seen!r}")

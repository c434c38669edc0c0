"""Queues that give everybody in them an equal share.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import (
    Awaitable,
    Callable,
    Deque,
    Generic,
    Iterable,
    Protocol,
    TypeVar,
)

import attrs


class OfSomebody(Protocol):
    @property
    def who(self) -> str: ...


Mine = TypeVar("Mine", bound=OfSomebody)
Item = TypeVar("Item")
Answer = TypeVar("Answer")

# How much work may be queued, and how much of it for one. What is beyond, and what
# failed so often, is found again by the next notice or the sweep.
MOST_QUEUED = 10_000
MOST_OF_ONE = 1_000
MOST_TRIES = 3


@attrs.define(eq=False)
class Shares(Generic[Mine]):
    """Items, each of somebody: first in, first out, and round robin between them."""

    _queues: OrderedDict[str, Deque[Mine]] = attrs.field(factory=OrderedDict)
    _size: int = 0

    def __len__(self) -> int:
        return self._size

    def of(self, who: str) -> int:
        """Count somebody's items."""
        return len(self._queues.get(who, ()))

    def add(self, item: Mine) -> None:
        """Put an item behind those of the same somebody."""
        self._queues.setdefault(item.who, deque()).append(item)
        self._size += 1

    def put_back(self, item: Mine) -> None:
        """Put an item before those of the same somebody, for the next turn."""
        self._queues.setdefault(item.who, deque()).appendleft(item)
        self._size += 1

    def take(self) -> Mine:
        """Take the next item; there must be one."""
        who, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._size -= 1
        if queue:
            self._queues.move_to_end(who)
        else:
            del self._queues[who]
        return item


@attrs.define(eq=False)
class Piece(Generic[Item]):
    """A piece of work, on whose behalf it is done, and how often it failed."""

    who: str
    item: Item
    failures: int = 0


@attrs.define(eq=False)
class Work(Generic[Item]):
    """Work in the background: bounded, and tried again where it failed."""

    _pieces: Shares[Piece[Item]] = attrs.field(factory=Shares, init=False)

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, who: str, item: Item) -> bool:
        """Queue a piece on somebody's behalf; return whether there was room."""
        if len(self._pieces) >= MOST_QUEUED or self._pieces.of(who) >= MOST_OF_ONE:
            return False
        self._pieces.add(Piece(who, item))
        return True

    def take(self, most: int) -> list[Piece[Item]]:
        """Take up to `most` pieces."""
        return [self._pieces.take() for _ in range(min(most, len(self._pieces)))]

    def put_back(self, pieces: Iterable[Piece[Item]]) -> None:
        """Put pieces back for the next turn, before others of the same somebody."""
        for piece in reversed(list(pieces)):
            self._pieces.put_back(piece)

    def put_behind(self, piece: Piece[Item]) -> None:
        """Put a piece back behind all others of the same somebody."""
        self._pieces.add(piece)

    async def asking(
        self,
        pieces: list[Piece[Item]],
        answer: Awaitable[Answer],
        give_up: Callable[[Item], object],
    ) -> Answer:
        """Await an answer about pieces; where it fails, have them tried again.

        What failed too often is given up.
        """
        try:
            return await answer
        except Exception:
            for piece in pieces:
                piece.failures += 1
            self.put_back(each for each in pieces if each.failures < MOST_TRIES)
            for piece in pieces:
                if piece.failures >= MOST_TRIES:
                    give_up(piece.item)
            raise

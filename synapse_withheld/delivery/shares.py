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
    Protocol,
    Sequence,
    TypeVar,
)

import attrs


class OfSomebody(Protocol):
    @property
    def who(self) -> str: ...


Mine = TypeVar("Mine", bound=OfSomebody)
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

    def add(self, item: Mine) -> None:
        """Put an item behind those of the same somebody."""
        self._queues.setdefault(item.who, deque()).append(item)
        self._size += 1

    def put_all_back(self, items: Sequence[Mine]) -> None:
        """Put items back for the next turn, before others of the same somebody."""
        for item in reversed(items):
            self._queues.setdefault(item.who, deque()).appendleft(item)
        self._size += len(items)

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
class Piece:
    """A piece of work, on whose behalf it is done, and how often it failed."""

    who: str
    failures: int = attrs.field(default=0, init=False)


PieceOfWork = TypeVar("PieceOfWork", bound=Piece)


class Work(Shares[PieceOfWork]):
    """Work in the background: bounded, and tried again where it failed."""

    def queue(self, piece: PieceOfWork) -> bool:
        """Queue a piece; return whether there was room."""
        of_one = len(self._queues.get(piece.who, ()))
        if len(self) >= MOST_QUEUED or of_one >= MOST_OF_ONE:
            return False
        self.add(piece)
        return True

    def take_some(self, most: int) -> list[PieceOfWork]:
        return [self.take() for _ in range(min(most, len(self)))]

    async def asking(
        self,
        pieces: Sequence[PieceOfWork],
        answer: Awaitable[Answer],
        give_up: Callable[[PieceOfWork], object],
    ) -> Answer:
        """Await an answer about pieces; where it fails, have them tried again.

        What failed too often is given up.
        """
        try:
            return await answer
        except Exception:
            for piece in pieces:
                piece.failures += 1
            self.put_all_back([each for each in pieces if each.failures < MOST_TRIES])
            for piece in pieces:
                if piece.failures >= MOST_TRIES:
                    give_up(piece)
            raise


class Chore(Protocol):
    """Work of one kind, as much of it as there is."""

    def __len__(self) -> int: ...

    @property
    def is_ready(self) -> bool:
        """Say whether any of it can be done now."""
        return len(self) > 0

    async def do_some(self) -> None:
        """Do as much as one statement can; what fails is tried again later."""

"""Work in the background: bounded, in equal shares, and tried again where it failed.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Generic, Iterable, TypeVar

import attrs

from synapse_withheld.delivery.shares import Shares

Item = TypeVar("Item")

# How much may be queued, and how much of it for one. What is beyond, and what failed so
# often, is found again by the next notice or the sweep.
MOST_QUEUED = 10_000
MOST_OF_ONE = 1_000
MOST_TRIES = 3


@attrs.define(eq=False)
class Piece(Generic[Item]):
    """A piece of work, on whose behalf it is done, and how often it failed."""

    who: str
    item: Item
    failures: int = 0


@attrs.define(eq=False)
class Work(Generic[Item]):
    """All work of one kind."""

    _pieces: Shares[Piece[Item]] = attrs.field(factory=Shares, init=False)

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, who: str, item: Item) -> bool:
        """Queue a piece on somebody's behalf; return whether there was room."""
        if len(self._pieces) >= MOST_QUEUED or self._pieces.of(who) >= MOST_OF_ONE:
            return False
        self._pieces.add(who, Piece(who, item))
        return True

    def take(self, most: int) -> list[Piece[Item]]:
        """Take up to `most` pieces."""
        some = min(most, len(self._pieces))
        return [self._pieces.take()[1] for _ in range(some)]

    def put_back(self, pieces: Iterable[Piece[Item]]) -> None:
        """Put pieces back for the next turn, before others of the same somebody."""
        for piece in reversed(list(pieces)):
            self._pieces.put_back(piece.who, piece)

    def put_behind(self, piece: Piece[Item]) -> None:
        """Put a piece back behind all others of the same somebody."""
        self._pieces.add(piece.who, piece)

    def failed(self, pieces: Iterable[Piece[Item]]) -> list[Piece[Item]]:
        """Put pieces back that failed; return those that failed too often."""
        given_up: list[Piece[Item]] = []
        again: list[Piece[Item]] = []
        for piece in pieces:
            piece.failures += 1
            (again if piece.failures < MOST_TRIES else given_up).append(piece)
        self.put_back(again)
        return given_up

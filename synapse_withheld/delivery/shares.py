"""A queue that gives everybody in it an equal share.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Deque, Generic, TypeVar

Item = TypeVar("Item")


class Shares(Generic[Item]):
    """Items, each of somebody: first in, first out, and round robin between them."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, Deque[Item]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def of(self, who: str) -> int:
        """Count somebody's items."""
        return len(self._queues.get(who, ()))

    def add(self, who: str, item: Item) -> None:
        """Put an item behind those of the same somebody."""
        self._queues.setdefault(who, deque()).append(item)
        self._size += 1

    def put_back(self, who: str, item: Item) -> None:
        """Put an item before those of the same somebody, for the next turn."""
        self._queues.setdefault(who, deque()).appendleft(item)
        self._size += 1

    def take(self) -> tuple[str, Item]:
        """Take the next item, with whose it is; there must be one."""
        who, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._size -= 1
        if queue:
            self._queues.move_to_end(who)
        else:
            del self._queues[who]
        return who, item

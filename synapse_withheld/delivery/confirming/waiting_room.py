"""Who waits for the database, in the order in which they came, and for whom.

Nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from math import inf
from typing import Callable, Collection, Deque, Dict, Iterable, Iterator, Set, Tuple

import attrs

from synapse_withheld.delivery.batch import Batch, Candidate, users_of


@attrs.define(eq=False)
class Waiting:
    """A batch with believed duplicates, and which of them are not answered yet.

    Attributes:
        finish: Called once, when nothing is left to wait for.
        is_stored: Whether the batch was stored already (`observe`): then the row that
            was believed at first is asked about, for the counters alone.
        users: For whom it holds up what comes later; nobody, once it is stored.
        number: Rises in the order in which batches came.
    """

    batch: Batch
    doubtful: list[Candidate]
    finish: Callable[[], None]
    is_stored: bool
    users: Collection[str] = attrs.field(default=(), init=False)
    number: int = 0
    unanswered: dict[str, Deque[Candidate]] = attrs.Factory(dict)
    left: int = 0
    is_over: bool = False

    @property
    def who(self) -> str:
        return self.batch.who

    def __attrs_post_init__(self) -> None:
        if not self.is_stored:
            self.users = users_of(self.batch.local, self.batch.edus)
        self.left = len(self.doubtful)
        for each in self.doubtful:
            self.unanswered.setdefault(each.queue, deque()).append(each)


@attrs.define
class WaitingRoom:
    """All who wait, each with messages of one sender to some users."""

    _entered: Dict[Waiting, None] = attrs.field(factory=dict)
    _by_sender: Dict[str, Dict[str, Dict[Waiting, None]]] = attrs.field(factory=dict)
    _count: int = 0
    _over: list[tuple[int, Waiting]] = attrs.field(factory=list)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._entered)

    def __len__(self) -> int:
        return len(self._entered)

    def enter(self, item: Waiting) -> None:
        self._count += 1
        item.number = self._count
        self._entered[item] = None
        for user_id in item.users:
            by_user = self._by_sender.setdefault(item.batch.sender, {})
            by_user.setdefault(user_id, {})[item] = None

    def leave(self, item: Waiting) -> None:
        del self._entered[item]
        sender = item.batch.sender
        by_user = self._by_sender.get(sender, {})
        for user_id in item.users:
            del by_user[user_id][item]
            if not by_user[user_id]:
                del by_user[user_id]
        if not by_user:
            self._by_sender.pop(sender, None)

    def end(self, item: Waiting) -> None:
        """End its wait: it leaves when its turn comes."""
        item.is_over = True
        heappush(self._over, (item.number, item))

    def going(self, up_to: float) -> Iterator[Waiting]:
        """Let those leave that wait no longer, up to the one of some number.

        In the order in which they came; answers come in another. Until then they stay:
        one that leaves may bring the next message of the same sender with it at once,
        and that lets them go first.
        """
        while self._over and self._over[0][0] <= up_to:
            _, item = heappop(self._over)
            self.leave(item)
            yield item

    def waits_for(self, sender: str) -> bool:
        return sender in self._by_sender

    def of(
        self, sender: str, users: Iterable[str], before: float = inf
    ) -> list[Waiting]:
        """Return what of a sender waits and is for any of some users, oldest first.

        Only what has a lower number, if one is given.
        """
        by_user = self._by_sender.get(sender, {})
        found: Set[Waiting] = set()
        for user_id in users:
            # They are in the order in which they came.
            for item in by_user.get(user_id, ()):
                if item.number >= before:
                    break
                found.add(item)
        return sorted(found, key=lambda item: item.number)

    def with_earlier(self, items: Iterable[Waiting]) -> list[Waiting]:
        """Return items and all that they would overtake if they went alone.

        An item overtakes an earlier one of the same sender for one of the same users.
        What is overtaken goes, too, and so may overtake others. The oldest come first.
        """
        found = set(items)
        latest = [(-item.number, item) for item in found]
        heapify(latest)
        seen: Set[Tuple[str, str]] = set()
        while latest:
            # From the latest on, so that each user is looked at once.
            _, item = heappop(latest)
            sender = item.batch.sender
            for user_id in item.users:
                if (sender, user_id) in seen:
                    continue
                seen.add((sender, user_id))
                for each in self._by_sender[sender][user_id]:
                    if each.number < item.number and each not in found:
                        found.add(each)
                        heappush(latest, (-each.number, each))
        return sorted(found, key=lambda item: item.number)

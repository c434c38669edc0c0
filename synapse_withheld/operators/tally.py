"""What was decided lately, and for whom: what metrics must not have labels for."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from typing import Any, Callable, NamedTuple

from synapse_withheld.rules.content import MAX_ID_LENGTH
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey

# How many senders and how many recipients are counted at once: so many that what
# makes up a tenth of a percent of all notices is surely among them.
CAPACITY = 1000

# Decisions are counted by the minute, for an hour.
STEP_S = 60
STEPS = 60


class Count(NamedTuple):
    """How often a key occurred at most, and how much less often it may have been."""

    key: Any
    occurred: int
    error: int


class HeavyHitters:
    """The Space-Saving sketch (Metwally, Agrawal, El Abbadi, 2005).

    It counts `capacity` keys at once. Of `total` occurrences, everything that makes up
    more than one in `capacity` is among those counted, and no error exceeds
    `total / capacity`. Keys that occur equally often must be comparable.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.total = 0
        self._counts: dict[Any, Count] = {}
        # Each counted key once, with a count that it had at some time: a count only
        # grows, so that it is looked at when an older one has come to the front.
        self._smallest: list[tuple[int, Any]] = []

    def add(self, key: Any, times: int = 1) -> None:
        self.total += times
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = Count(key, known.occurred + times, known.error)
        elif len(self._counts) < self.capacity:
            self._counts[key] = Count(key, times, 0)
            heapq.heappush(self._smallest, (times, key))
        else:
            smallest = self._take_smallest()
            # It may have occurred before and been displaced: but not more often
            # than what it displaces now.
            self._counts[key] = Count(key, smallest + times, smallest)
            heapq.heapreplace(self._smallest, (smallest + times, key))

    def most(self, number: int) -> list[Count]:
        return heapq.nlargest(
            number, self._counts.values(), key=lambda each: each.occurred - each.error
        )

    def _take_smallest(self) -> int:
        """Drop what occurred least, whose place in the heap is then the first."""
        while True:
            noted, key = self._smallest[0]
            occurred = self._counts[key].occurred
            if occurred == noted:
                del self._counts[key]
                return occurred
            heapq.heapreplace(self._smallest, (occurred, key))


class History:
    """Counts by name and minute, of the last hour by a clock in seconds."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._steps: deque[Counter[str]] = deque(maxlen=STEPS)
        self._last = self._now() - STEPS

    def add(self, name: str, times: int = 1) -> None:
        self._move()
        self._steps[-1][name] += times

    def of(self, name: str) -> list[int]:
        """Return how often something happened, per minute, oldest first.

        The last is the minute that has begun.
        """
        self._move()
        return [step[name] for step in self._steps]

    def began_s(self) -> float:
        return self._seconds() - (self._now() - STEPS + 1) * STEP_S

    def _now(self) -> int:
        return int(self._seconds() // STEP_S)

    def _move(self) -> None:
        now = self._now()
        self._steps.extend(Counter() for _ in range(min(now - self._last, STEPS)))
        self._last = now


class Tally:
    """Decisions of the last hour, and the busiest senders and recipients ever since.

    Attributes:
        history: Decisions by their action.
        senders: Notices by their rule and the user who sent them.
        recipients: Notices by their rule and the mailbox that they are for.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.history = History(seconds)
        self.senders = HeavyHitters(CAPACITY)
        self.recipients = HeavyHitters(CAPACITY)

    def decided(self, decision: Decision, times: int = 1) -> None:
        self.history.add(decision.action, times)

    def came_from(self, rule: str, sender: str, times: int = 1) -> None:
        self.senders.add((rule, sender[:MAX_ID_LENGTH]), times)

    def came_for(self, rule: str, mailbox: MailboxKey) -> None:
        user_id, device_id = mailbox
        # Anybody may invent a device, and give it a long name.
        short = (user_id[:MAX_ID_LENGTH], device_id[:MAX_ID_LENGTH])
        self.recipients.add((rule, short))

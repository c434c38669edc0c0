"""What has to hold after a demonstration, whatever the numbers are.

Nothing of the module's own rule is used: its work is what is checked.
"""

from __future__ import annotations

import json
from collections import Counter
from difflib import unified_diff
from typing import Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

import attrs

from tests.demo.driving import AWAY, Cast
from tests.harness.messages import OLDER_WITHHELD, WITHHELD

# Sender, what tells its device (`from_device`, or the key where there is none), type.
Pair = Tuple[str, str, str]

NOTICE_TYPES = (WITHHELD, OLDER_WITHHELD)


@attrs.frozen
class Check:
    """A fact that has to hold, and what was found instead: nothing if it holds."""

    fact: str
    trouble: object

    @property
    def holds(self) -> bool:
        return not self.trouble

    @property
    def verdict(self) -> str:
        if self.holds:
            return f"ok: {self.fact}"
        return f"FAILED: {self.fact}: {self.trouble}"


class Outcome(NamedTuple):
    """What a demonstration showed: lines of cells, and what has to hold."""

    table: Sequence[Sequence[str]]
    checks: Sequence[Check]


def everywhere(
    fact: str, found: Mapping[str, Cast], trouble: Callable[[Cast], object]
) -> Check:
    """Return the check of a fact that has to hold wherever something was measured."""
    told = {name: trouble(one) for name, one in found.items()}
    return Check(fact, {name: each for name, each in told.items() if each})


def as_on_stock(
    found: Mapping[str, Cast],
    acting: Mapping[str, int],
    of_rule: Sequence[str] = NOTICE_TYPES,
) -> list[Check]:
    """Check what a rule changes nothing about, but for messages of its own types.

    Args:
        found: What was measured, by name; first without the module.
        acting: On how many servers the module is.
        of_rule: The types.
    """

    def others(one: Cast) -> list[str]:
        queued = [
            (device, message["sender"], row)
            for device, rows in one.mailboxes.items()
            for row in rows
            if (message := json.loads(row))["type"] not in of_rule
        ]
        # Those of different senders overtake each other on their way between servers.
        queued.sort(key=lambda each: each[:2])
        return [f"{device}: {row}" for device, _, row in queued]

    def differs(one: Cast) -> list[str]:
        return [*unified_diff(stock, others(one), "stock", "here", n=0)]

    def loses(one: Cast) -> list[int]:
        queued = [json.loads(row) for row in one.mailboxes[AWAY]]
        return [len(queued), len(one.synced)] if queued != one.synced else []

    stock = others(next(iter(found.values())))
    active = {name: one.sum("active") for name, one in found.items()}
    return [
        everywhere("every other message is stored as on stock", found, differs),
        everywhere("the next syncs give all that is in the mailbox", found, loses),
        everywhere("every request was answered 200", found, lambda one: one.failed),
        Check("the module acted where it is", active != acting and active),
        everywhere(
            "the module counts no failure of its own",
            found,
            lambda one: one.sum("failures_total"),
        ),
    ]


def last_of_each_pair(found: Mapping[str, Cast], tidied: Sequence[str]) -> list[Check]:
    """Check which notices are left; only one of each pair where that is tidied."""

    def last_keys(one: Cast) -> dict[tuple[str, Pair], str]:
        return {
            (device, pair): key
            for device, rows in one.mailboxes.items()
            for pair, key in _notices(rows)
        }

    stock = last_keys(next(iter(found.values())))
    return [
        everywhere(
            "at rest, no mailbox holds two notices of one pair",
            {name: found[name] for name in tidied},
            lambda one: [*filter(None, map(copies, one.mailboxes.values()))],
        ),
        everywhere(
            "of every pair that sent any, a notice with its last key is queued",
            found,
            lambda one: stock.items() ^ last_keys(one).items(),
        ),
    ]


def copies(rows: Iterable[str]) -> dict[Pair, int]:
    """Return the pairs with more than one notice among rows, and how many."""
    counted = Counter(pair for pair, _ in _notices(rows))
    return {pair: count for pair, count in counted.items() if count > 1}


def _notices(rows: Iterable[str]) -> Iterator[tuple[Pair, str]]:
    """Give the pair and the key of each notice."""
    for message in map(json.loads, rows):
        if message["type"] in NOTICE_TYPES:
            content = message["content"]
            key = content["sender_key"]
            device = content.get("from_device") or f"key {key}"
            yield (message["sender"], device, message["type"]), key

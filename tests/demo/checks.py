"""What has to hold after a demonstration, whatever the numbers are.

Nothing of the module's own rules is used: its work is what is checked.
"""

from __future__ import annotations

import json
from collections import Counter
from difflib import unified_diff
from typing import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Tuple

from tests.demo.driving import AWAY, Cast
from tests.model.redundancy import WITHHELD as NOTICE_TYPES
from tests.model.redundancy import is_notice, pair_of

# What is wrong, by the fact that has to hold: nothing where it does.
Troubles = Mapping[str, object]
# A table, as lines of cells, and what has to hold.
Outcome = Tuple[Sequence[Sequence[str]], Troubles]


def _wherever(found: Mapping[str, Cast], trouble: Callable[[Cast], object]) -> object:
    told = {name: trouble(one) for name, one in found.items()}
    return {name: each for name, each in told.items() if each}


def as_on_stock(
    found: Mapping[str, Cast],
    acting: Mapping[str, int],
    of_rule: Sequence[str] = NOTICE_TYPES,
) -> Troubles:
    """Check what a rule changes nothing about, but for messages of its own types.

    The first was found without the module; on how many servers that is says `acting`.
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
    return {
        "every other message is stored as on stock": _wherever(found, differs),
        "the next syncs give all that is in the mailbox": _wherever(found, loses),
        "every request was answered 200": _wherever(found, lambda one: one.failed),
        "the module acted where it is": active != acting and active,
        "the module counts no failure of its own": _wherever(
            found, lambda one: one.sum("failures_total")
        ),
    }


def last_of_each_pair(found: Mapping[str, Cast], tidied: Sequence[str]) -> Troubles:
    """Check which notices are left; only one of each pair where that is tidied."""

    def last_keys(one: Cast) -> dict[Hashable, str]:
        return {
            (device, pair): key
            for device, rows in one.mailboxes.items()
            for pair, key in _notices(rows)
        }

    stock = last_keys(next(iter(found.values())))
    return {
        "at rest, no mailbox holds two notices of one pair": _wherever(
            {name: found[name] for name in tidied},
            lambda one: [*filter(None, map(copies, one.mailboxes.values()))],
        ),
        "of every pair that sent any, a notice with its last key is queued": _wherever(
            found, lambda one: stock.items() ^ last_keys(one).items()
        ),
    }


def copies(rows: Iterable[str]) -> dict[Hashable, int]:
    """Return the pairs with more than one notice among rows, and how many."""
    counted = Counter(pair for pair, _ in _notices(rows))
    return {pair: count for pair, count in counted.items() if count > 1}


def _notices(rows: Iterable[str]) -> Iterator[tuple[Hashable, str]]:
    for message in map(json.loads, rows):
        if is_notice(message["type"], message["content"]):
            yield pair_of(message, merge_scopes=True), message["content"]["sender_key"]

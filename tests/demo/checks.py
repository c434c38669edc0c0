"""What has to hold after a demonstration, whatever the numbers are.

Nothing of the module's own rule is used: its work is what is checked.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, Tuple

import attrs

from tests.demo.driving import Cast, Measured
from tests.demo.traffic import AWAY, Send, user_id
from tests.harness.messages import OLDER_WITHHELD, WITHHELD
from tests.harness.samples import ACTIVE, FAILURES, total

# Sender, what tells its device (`from_device`, or the key where there is none), type.
Pair = Tuple[str, str, str]

NOTICE_TYPES = (WITHHELD, OLDER_WITHHELD)


@attrs.frozen
class Check:
    """A fact that has to hold, and what was found instead: nothing if it holds."""

    fact: str
    trouble: str

    @property
    def holds(self) -> bool:
        return not self.trouble

    @property
    def verdict(self) -> str:
        """Return a line that says what was found."""
        if self.holds:
            return f"ok: {self.fact}"
        return f"FAILED: {self.fact}: {self.trouble}"


@attrs.frozen
class Outcome:
    """What a demonstration showed.

    Attributes:
        table: Lines of cells, the first the header.
        checks: What has to hold.
        casts: Who took part, on homeservers that still run: the last has the module.
    """

    table: Sequence[Sequence[str]]
    checks: Sequence[Check]
    casts: Sequence[Cast]


def everywhere(
    fact: str, found: Mapping[str, Measured], trouble: Callable[[Measured], str]
) -> Check:
    """Return the check of a fact that has to hold wherever something was measured."""
    told = {name: trouble(one) for name, one in found.items()}
    return Check(
        fact, "; ".join(f"{name}: {told[name]}" for name in told if told[name])
    )


def as_on_stock(
    found: Mapping[str, Measured],
    acting: Mapping[str, int],
    of_rule: Sequence[str] = NOTICE_TYPES,
) -> list[Check]:
    """Check what a rule changes nothing about.

    Args:
        found: What was measured, by name; first without the module.
        acting: On how many servers the module is.
        of_rule: The types of the rule's messages.
    """
    stock, *_ = (_others(one, of_rule) for one in found.values())

    def differs(one: Measured) -> str:
        ours = _others(one, of_rule)
        lanes = {*stock, *ours}
        return "".join(_difference(stock[each], ours[each]) for each in sorted(lanes))

    def loses(one: Measured) -> str:
        rows = [json.loads(row) for row in one.mailboxes[AWAY]]
        return _difference([*map(_text, rows)], [*map(_text, one.synced)])

    active = {name: total(one.metrics, ACTIVE) for name, one in found.items()}
    failures = {name: total(one.metrics, FAILURES) for name, one in found.items()}
    return [
        everywhere("every other message is stored as on stock", found, differs),
        everywhere("the next syncs give all that is in the mailbox", found, loses),
        everywhere(
            "every request was answered 200", found, lambda one: str(one.failed or "")
        ),
        Check("the module acted where it is", "" if active == acting else f"{active}"),
        Check(
            "the module counts no failure of its own",
            f"{failures}" if any(failures.values()) else "",
        ),
    ]


def copies(rows: Iterable[str]) -> str:
    """Return the pairs with more than one notice among rows; empty if none has."""
    counted = Counter(pair for pair, _ in _notices(rows))
    many = {pair: count for pair, count in counted.items() if count > 1}
    return str(many) if many else ""


def one_of_each_pair(found: Mapping[str, Measured]) -> Check:
    return everywhere(
        "at rest, no mailbox holds two notices of one pair",
        found,
        lambda one: "".join(map(copies, one.mailboxes.values())),
    )


def newest_of_each_pair(
    found: Mapping[str, Measured],
    sends: Iterable[Send],
    called: Callable[[str], str] = user_id,
) -> Check:
    """Check that each pair's notice is there, with the key that was sent last.

    Args:
        found: What was measured.
        sends: All that was sent, in order.
        called: How the rows name a sender.
    """
    notices = [send for send in sends if send.message_type in NOTICE_TYPES]

    def missing(one: Measured) -> str:
        last: dict[tuple[str, Pair], str] = {}
        for send in notices:
            for to, content in send.messages.items():
                pair = _pair(called(send.sender), send.message_type, content)
                for device in one.mailboxes if to == "*" else [to]:
                    last[device, pair] = content["sender_key"]
        queued = {
            ((device, pair), key)
            for device, rows in one.mailboxes.items()
            for pair, key in _notices(rows)
        }
        return ", ".join(map(str, last.items() - queued))

    fact = "of every pair that sent any, a notice with its last key is queued"
    return everywhere(fact, found, missing)


def _others(one: Measured, of_rule: Sequence[str]) -> dict[Any, list[str]]:
    """Return the rows that are not a rule's, by device and sender.

    Those of different senders overtake each other on their way between servers.
    """
    lanes = defaultdict(list)
    for device, rows in one.mailboxes.items():
        for row in rows:
            message = json.loads(row)
            if message["type"] not in of_rule:
                lanes[device, message["sender"]].append(row)
    return lanes


def _difference(expected: Sequence[str], actual: Sequence[str]) -> str:
    """Return the first difference, empty if there is none."""
    for number, (one, other) in enumerate(zip(expected, actual)):
        if one != other:
            return f"message {number} differs: {one} became {other}; "
    if len(expected) != len(actual):
        return f"{len(expected)} expected, {len(actual)} found; "
    return ""


def _text(message: Mapping[str, Any]) -> str:
    return json.dumps(message, sort_keys=True)


def _pair(sender: str, message_type: str, content: Mapping[str, Any]) -> Pair:
    """Return which sender device a notice is from, and of which type it is."""
    if "from_device" in content:
        return sender, f"device {content['from_device']}", message_type
    return sender, f"key {content['sender_key']}", message_type


def _notices(rows: Iterable[str]) -> Iterator[tuple[Pair, str]]:
    for message in map(json.loads, rows):
        if message["type"] in NOTICE_TYPES:
            content = message["content"]
            pair = _pair(message["sender"], message["type"], content)
            yield pair, content["sender_key"]

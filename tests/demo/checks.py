"""What has to hold after the demonstration, whatever the numbers are.

Pure, and nothing of the module's own rule is used: its work is what is checked.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import (
    Any,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Tuple,
)

import attrs

from tests.demo.traffic import Send, user_id
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


def pair_of(sender: str, message_type: str, content: Mapping[str, Any]) -> Pair:
    """Return which sender device a notice is from, and of which type it is."""
    if "from_device" in content:
        return sender, f"device {content['from_device']}", message_type
    return sender, f"key {content['sender_key']}", message_type


def copies(rows: Iterable[str]) -> dict[Pair, int]:
    """Return the pairs with more than one notice among rows, and how many."""
    counted = Counter(pair for pair, _ in _notices(rows))
    return {pair: count for pair, count in counted.items() if count > 1}


def one_notice_per_pair(mailboxes: Mapping[str, Iterable[str]]) -> Check:
    found = [many for rows in mailboxes.values() if (many := copies(rows))]
    fact = "at rest, no mailbox holds two notices of one pair"
    return Check(fact, f"found {found}" if found else "")


def newest_of_each_pair(
    mailboxes: Mapping[str, Iterable[str]],
    sends: Iterable[Send],
    called: Callable[[str], str] = user_id,
) -> Check:
    """Check that each pair's notice is there, with the key that was sent last.

    Args:
        mailboxes: Rows by device.
        sends: All that was sent, in order.
        called: How the rows name a sender.
    """
    last: dict[tuple[str, Pair], str] = {}
    for send in sends:
        if send.message_type not in NOTICE_TYPES:
            continue
        for to, content in send.messages.items():
            pair = pair_of(called(send.sender), send.message_type, content)
            for device in mailboxes if to == "*" else [to]:
                last[device, pair] = content["sender_key"]
    queued = {
        ((device, pair), key)
        for device, rows in mailboxes.items()
        for pair, key in _notices(rows)
    }
    missing = last.items() - queued
    fact = "of every pair that sent any, a notice with its last key is queued"
    return Check(fact, f"not there: {missing}" if missing else "")


def same_delivery(
    sent: Iterable[Mapping[str, Any]],
    delivered: Mapping[str, Iterable[Mapping[str, Any]]],
    of_rule: Collection[str] = NOTICE_TYPES,
) -> Check:
    """Check that the recipient got what is not of a rule as it was sent."""
    expected = list(map(canonical, sent))
    got = {
        name: [canonical(each) for each in messages if each["type"] not in of_rule]
        for name, messages in delivered.items()
    }
    fact = "every other message reached the recipient as it was sent, in its order"
    return everywhere(fact, {name: difference(expected, got[name]) for name in got})


def no_failed_sends(failed: Mapping[str, int]) -> Check:
    trouble = f"failed: {dict(failed)}" if any(failed.values()) else ""
    return Check("every request was answered 200", trouble)


def module_acted(metrics: Mapping[str, float], servers: int = 1) -> Check:
    failures, active = total(metrics, FAILURES), metrics.get(ACTIVE, 0)
    trouble = f"it counts {failures:.0f} failures" if failures else ""
    if active != servers:
        trouble = f"{ACTIVE} is {active:.0f}, not {servers}"
    return Check("the module acted, and counts no failure of its own", trouble)


def everywhere(fact: str, troubles: Mapping[str, str]) -> Check:
    """Return the check of a fact that has to hold in several places."""
    told = (f"{place}: {text}" for place, text in troubles.items() if text)
    return Check(fact, "; ".join(told))


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def difference(expected: Sequence[str], actual: Sequence[str]) -> str:
    """Return the first difference, empty if there is none."""
    for number, (one, other) in enumerate(zip(expected, actual)):
        if one != other:
            return f"message {number} differs: {one} became {other}"
    if len(expected) != len(actual):
        return f"{len(expected)} expected, {len(actual)} found"
    return ""


def _notices(rows: Iterable[str]) -> Iterator[tuple[Pair, str]]:
    for message in map(json.loads, rows):
        if message["type"] in NOTICE_TYPES:
            content = message["content"]
            pair = pair_of(message["sender"], message["type"], content)
            yield pair, content["sender_key"]

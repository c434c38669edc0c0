"""What has to hold after the demonstration, whatever the numbers are.

Pure, and nothing of the module's own rule is used: its work is what is checked.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Iterable, Mapping, Sequence

import attrs

from tests.harness.clients.messages import OLDER_WITHHELD, WITHHELD
from tests.harness.metrics.samples import ACTIVE, FAILURES

# Sender, what tells its device (`from_device`, or the key where there is none), type.
Pair = tuple[str, str, str]

NOTICE_TYPES = (WITHHELD, OLDER_WITHHELD)


@attrs.frozen
class Check:
    """A fact that holds or does not.

    Attributes:
        fact: What has to hold.
        trouble: What was found instead; empty if it holds.
    """

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
    counted = Counter(
        pair_of(message["sender"], message["type"], message["content"])
        for message in map(json.loads, rows)
        if message["type"] in NOTICE_TYPES
    )
    return {pair: count for pair, count in counted.items() if count > 1}


def one_notice_per_pair(mailboxes: Mapping[str, Iterable[str]]) -> Check:
    """Check that no mailbox holds two notices of a pair."""
    found = {device: copies(rows) for device, rows in mailboxes.items()}
    found = {device: many for device, many in found.items() if many}
    return Check(
        "at rest, no mailbox holds two notices of one pair",
        f"more than one: {found}" if found else "",
    )


def newest_of_each_pair(
    mailboxes: Mapping[str, Iterable[str]], sent: Mapping[str, Mapping[Pair, str]]
) -> Check:
    """Check that each pair's notice is there, with the key that was sent last."""
    missing = {
        device: lost
        for device, pairs in sent.items()
        if (lost := set(pairs.items()) - set(_keys(mailboxes[device])))
    }
    return Check(
        "of every pair that sent any, a notice with its last key is queued",
        f"not there: {missing}" if missing else "",
    )


def same_rows(stock: Iterable[str], module: Iterable[str], sent: int) -> Check:
    """Check that all other messages are stored byte for byte and in order."""
    expected, actual = _others(stock), _others(module)
    trouble = _difference(expected, actual)
    if not trouble and len(expected) != sent:
        trouble = f"{sent} were sent, {len(expected)} are queued"
    fact = "every other message is stored byte for byte as on stock, in its order"
    return Check(fact, trouble)


def same_delivery(
    stock: Iterable[Mapping[str, Any]],
    module: Iterable[Mapping[str, Any]],
    sent: Iterable[Mapping[str, Any]],
) -> Check:
    """Check that the recipient got all other messages as they were sent."""
    expected = [_canonical(message) for message in sent]
    delivered = {"stock": stock, "with the module": module}
    trouble = [
        f"{name}: {difference}"
        for name, messages in delivered.items()
        if (difference := _difference(expected, _others(map(_canonical, messages))))
    ]
    fact = "every other message reached the recipient as it was sent, in its order"
    return Check(fact, "; ".join(trouble))


def no_failed_sends(failed: Mapping[str, int]) -> Check:
    """Check that every request was answered 200."""
    trouble = f"failed: {dict(failed)}" if any(failed.values()) else ""
    return Check("every request was answered 200", trouble)


def module_acted(metrics: Mapping[str, float]) -> Check:
    """Check that the module acted and counts no failure."""
    failures = sum(
        value for name, value in metrics.items() if name.startswith(FAILURES)
    )
    trouble = f"it counts {failures:.0f} failures" if failures else ""
    if metrics.get(ACTIVE) != 1:
        trouble = f"{ACTIVE} is {metrics.get(ACTIVE)}"
    return Check("the module acted, and counts no failure of its own", trouble)


def _keys(rows: Iterable[str]) -> Iterable[tuple[Pair, str]]:
    for message in map(json.loads, rows):
        if message["type"] in NOTICE_TYPES:
            content = message["content"]
            pair = pair_of(message["sender"], message["type"], content)
            yield pair, content["sender_key"]


def _others(rows: Iterable[str]) -> list[str]:
    return [text for text in rows if json.loads(text)["type"] not in NOTICE_TYPES]


def _canonical(message: Mapping[str, Any]) -> str:
    return json.dumps(message, sort_keys=True)


def _difference(expected: Sequence[str], actual: Sequence[str]) -> str:
    for number, (one, other) in enumerate(zip(expected, actual)):
        if one != other:
            return f"message {number} differs: {one} became {other}"
    if len(expected) != len(actual):
        return f"{len(expected)} expected, {len(actual)} found"
    return ""

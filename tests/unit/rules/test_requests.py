"""The rules `key_requests` and `secret_requests`: what is taken back goes."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.requests import KeyRequests, Requests, SecretRequests
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.databases.backlog import FakeRows, driven, other, text_of

RULES: list[Requests] = [KeyRequests(), SecretRequests()]
BOTH = pytest.mark.parametrize("rule", RULES)
REQUEST: dict[str, Any] = {
    "action": "request",
    "requesting_device_id": "S1",
    "request_id": "1",
    "body": {"session_id": "session"},
}
CANCELLATION: dict[str, Any] = {
    "action": "request_cancellation",
    "requesting_device_id": "S1",
    "request_id": "1",
}


def read(rule: Requests, content: dict[str, Any], **changed: Any) -> Notice:
    """Read what has to be a request or a cancellation."""
    (message_type,) = rule.types
    found = rule.read("@s:hs", message_type, {**content, **changed})
    assert found is not None
    return found


@BOTH
def test_a_pair_is_of_a_device_and_a_request(rule: Requests) -> None:
    """And of its type; what equal contents have in common is short."""
    found = read(rule, REQUEST)
    (message_type,) = rule.types

    assert Pair("@s:hs", "S1", message_type, ("1",)) == found.pair
    assert 32 == len(found.key)
    assert found.pair == read(rule, CANCELLATION).pair


@BOTH
def test_equal_requests_have_equal_keys(rule: Requests) -> None:
    """Whatever the order of what they say, and however clients follow them."""
    key = read(rule, REQUEST).key

    assert key == read(rule, dict(reversed(REQUEST.items()))).key
    assert key == read(rule, REQUEST, **{"org.matrix.msgid": "1"}).key
    assert key != read(rule, REQUEST, body={}).key
    assert key != read(rule, REQUEST, more=None).key


@BOTH
def test_only_a_request_waits_for_an_answer(rule: Requests) -> None:
    """Of the device that asks."""
    assert ("@s:hs", "S1") == read(rule, REQUEST).asker
    assert read(rule, CANCELLATION).asker is None


@BOTH
@pytest.mark.parametrize(
    ("queued", "content", "expected"),
    [
        (REQUEST, REQUEST, decision.REPEATED),
        (REQUEST, {**REQUEST, "body": {}}, decision.NOT_REPEATED),
        (REQUEST, CANCELLATION, decision.CANCELLED),
        (CANCELLATION, CANCELLATION, decision.REPEATED),
        (CANCELLATION, {**CANCELLATION, "reason": ""}, decision.REPEATED),
        (CANCELLATION, REQUEST, decision.NOT_REPEATED),
    ],
)
def test_each_is_stored_for_what_it_does_to_the_queued_one(
    rule: Requests, queued: Any, content: Any, expected: Decision
) -> None:
    """As metrics tell it; none collapses."""
    earlier, later = read(rule, queued), read(rule, content)

    assert expected == rule.why_stored(earlier, later)
    assert not rule.says_as_much(earlier, later)


deep: dict[str, Any] = {}
# Python 3.12 and newer go down some ten thousand levels.
for _ in range(100_000):
    deep = {"deeper": deep}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "content",
    [
        {**REQUEST, "action": "other"},
        {**REQUEST, "action": ["request"]},
        {**REQUEST, "requesting_device_id": None},
        {**REQUEST, "requesting_device_id": "D" * 256},
        {**REQUEST, "request_id": 7},
        {**REQUEST, "request_id": ""},
        {**REQUEST, "body": deep},
        {},
        [],
        None,
    ],
    ids=range(10),
)
def test_what_is_malformed_is_not_named(rule: Requests, content: object) -> None:
    """It is stored as it is."""
    (message_type,) = rule.types

    assert rule.read("@s:hs", message_type, content) is None


def test_the_sweep_takes_what_a_device_asked_for_that_is_gone() -> None:
    """Where anything newer is in the mailbox, whatever that is."""
    rules = Ruleset.of(Config(rules=RulesConfig(key_requests=True)))
    request = text_of("@s:hs", "m.room_key_request", REQUEST)
    cancellation = text_of(
        "@s:hs", "m.room_key_request", {**CANCELLATION, "request_id": "2"}
    )
    texts = [request, cancellation, other(), request]
    rows = FakeRows({("@r:hs", "R", n): text for n, text in enumerate(texts, 1)})
    rows.gone_devices = {("@s:hs", "S1")}
    driven(Sweep(rows, Options(rules=rules)).step())

    assert [2, 3, 4] == sorted(stream_id for *_, stream_id in rows.table)

"""The rules for requests: what is taken back goes, and what no client heeds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synapse_withheld.rules.notice import ANY, Notice, Pair
from synapse_withheld.rules.redundant import Staleness, askers_of
from synapse_withheld.rules.requests import (
    CancellableRule,
    KeyRequests,
    Later,
    SecretRequests,
    VerificationRequests,
)
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    TRACING,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
)
from tests.model.messages import Message, request, verification

# Each rule, one of its requests and a cancellation of that.
Of = tuple[CancellableRule, Message, Message]
REQUESTS: list[Of] = [
    (
        rule,
        request(kind, "request"),
        request(kind, "request_cancellation"),
    )
    for rule, kind in (
        (KeyRequests(), KEY_REQUEST),
        (SecretRequests(), SECRET_REQUEST),
    )
]
VERIFICATIONS: Of = (
    VerificationRequests(),
    verification(VERIFICATION_REQUEST, "1"),
    verification(VERIFICATION_CANCEL, "1", from_device="S1"),
)
EACH = pytest.mark.parametrize("of", [*REQUESTS, VERIFICATIONS])


def read(rule: CancellableRule, message: Message, **changed: Any) -> Notice:
    message_type, content = message
    found = rule.read("@s:hs", message_type, {**content, **changed})
    assert found is not None
    return found


def verified(**changed: Any) -> Notice:
    return read(VERIFICATIONS[0], VERIFICATIONS[1], **changed)


def back_to_front(message: Message) -> Message:
    message_type, content = message
    return message_type, dict(reversed(content.items()))


@EACH
def test_equal_requests_have_equal_keys(of: Of) -> None:
    """Whatever the order of what they say, and however clients follow them.

    So it is where keys are told later, be it from the text.
    """
    rule, asks, takes_back = of
    later = rule.telling_later()
    for more, same in (
        ({}, True),
        ({TRACING: "1"}, True),
        ({"body": 1}, False),
        ({"more": None}, False),
    ):
        found, other = read(rule, back_to_front(asks)), read(rule, asks, **more)
        assert 32 == len(found.key)
        assert same is (found == other)
        keys = [read(later, asks, **each).key for each in ({}, more)]
        again = read(later, back_to_front(asks)).key
        assert isinstance(again, Later)
        again.source = json.dumps({"content": asks[1]})
        assert same is (keys[0] == keys[1])
        assert (1 if same else 2) == len({*keys, again}) == len({*map(hash, keys)})
    # And no message is changed.
    tracked = {**asks[1], TRACING: "1"}
    read(rule, (asks[0], tracked))
    assert TRACING in tracked
    cancelled = read(rule, takes_back)
    assert (found.pair, ANY) == (cancelled.pair, cancelled.key)


def test_what_is_too_deep_to_be_told_equals_nothing() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    rule, asks, _ = VERIFICATIONS
    untold = [read(rule.telling_later(), asks, deep=deep).key for _ in "12"]

    assert 2 == len({*untold})
    assert 1 == len({untold[0], untold[0]})


def test_a_pair_is_of_a_device_and_a_request_or_of_a_transaction() -> None:
    """Of both types of verifications, whatever device they are of.

    All their cancellations say the same, whatever their reasons.
    """
    rule, _, takes_back = VERIFICATIONS
    pair = Pair("@s:hs", "", "m.key.verification", ("1",))
    cancellations = [read(rule, takes_back, code=code) for code in "ab"]

    assert Pair("@s:hs", "S1", KEY_REQUEST, ("1",)) == read(*REQUESTS[0][:2]).pair
    assert pair == verified(from_device="T").pair
    assert {(pair, ANY)} == {(each.pair, each.key) for each in cancellations}


@EACH
def test_only_a_request_waits_for_an_answer(of: Of) -> None:
    """Of the device that asks: once that is gone, nobody heeds it.

    A cancellation stays, since a prompt may be waiting for it. IDs of devices are not
    unique across users.
    """
    rule, *messages = of
    asked, cancelled = (read(rule, each) for each in messages)

    assert {("@s:hs", "S1")} == askers_of([asked, cancelled])
    assert Staleness(gone={("@s:hs", "S1")}).applies_to(asked)
    assert not Staleness(gone={("@s:hs", "S1")}).applies_to(cancelled)
    assert not Staleness(gone={("@s:hs", "T"), ("@t:hs", "S1")}).applies_to(asked)
    named = [verified(from_device=each) for each in (None, "", 1, "D" * 256)]
    assert set() == askers_of(named)


# Ten minutes, and a day.
HEEDED_FOR_MS = (10 + 24 * 60) * 60 * 1000


@pytest.mark.parametrize(
    ("timestamp", "expires_ts"),
    [
        (0, HEEDED_FOR_MS),
        (2**53, 2**53 + HEEDED_FOR_MS),
        # What is later than JSON holds exactly is no time.
        *((odd, None) for odd in (None, True, "1000", 1.5, -1, 2**53 + 1)),
    ],
)
def test_a_verification_expires_after_ten_minutes_and_a_day(
    timestamp: Any, expires_ts: int | None
) -> None:
    """Then every client ignores it, whatever its clock says; its cancellation stays.

    One without a time never expires.
    """
    asked = verified(timestamp=timestamp, from_device=None)
    rule, _, takes_back = VERIFICATIONS

    assert expires_ts == asked.expires_ts
    late_ts = expires_ts or 2**62
    applies = [
        Staleness(now_ts=each).applies_to(asked) for each in (late_ts - 1, late_ts)
    ]
    assert [False, expires_ts is not None] == applies
    cancelled = read(rule, takes_back, timestamp=timestamp)
    assert not Staleness(now_ts=2**62).applies_to(cancelled)

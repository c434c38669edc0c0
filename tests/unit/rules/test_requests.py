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

ABOUT = {"requesting_device_id": "S1", "request_id": "1"}
BODY = {"session_id": "session"}
REQUEST: dict[str, Any] = {"action": "request", **ABOUT, "body": BODY}
CANCELLATION = {"action": "request_cancellation", **ABOUT}
VERIFICATION: dict[str, Any] = {"transaction_id": "1", "from_device": "S1"}
VERIFY, CANCEL = "m.key.verification.request", "m.key.verification.cancel"

# Each rule, and the type and the content of its requests and of its cancellations.
KEY, SECRET = "m.room_key_request", "m.secret.request"
Of = Any
KEYS = (KeyRequests(), (KEY, REQUEST), (KEY, CANCELLATION))
SECRETS = (SecretRequests(), (SECRET, REQUEST), (SECRET, CANCELLATION))
VERIFICATIONS = (VerificationRequests(), (VERIFY, VERIFICATION), (CANCEL, VERIFICATION))
EACH = pytest.mark.parametrize("of", [KEYS, SECRETS, VERIFICATIONS])


def read(rule: CancellableRule, message: Any, **changed: Any) -> Notice:
    message_type, content = message
    found = rule.read("@s:hs", message_type, {**content, **changed})
    assert found is not None
    return found


def verification(kind: str = VERIFY, **changed: Any) -> Notice:
    return read(VERIFICATIONS[0], (kind, VERIFICATION), **changed)


@EACH
def test_equal_requests_have_equal_keys(of: Of) -> None:
    """Whatever the order of what they say, and however clients follow them."""
    rule, request, cancellation = of
    key = read(rule, request).key
    message_type, content = request

    assert 32 == len(key)
    assert key == read(rule, (message_type, dict(reversed(content.items())))).key
    assert key == read(rule, request, **{"org.matrix.msgid": "1"}).key
    assert key != read(rule, request, body={}).key
    assert key != read(rule, request, more=None).key
    # And no message is changed.
    tracked = {**content, "org.matrix.msgid": "1"}
    read(rule, (message_type, tracked))
    assert "org.matrix.msgid" in tracked
    assert read(rule, request).pair == read(rule, cancellation).pair


@EACH
def test_keys_that_are_told_later_are_equal_where_others_are(of: Of) -> None:
    """From the content or from the text; what is too deep to be told equals nothing."""
    rule, (message_type, content), _ = of
    later = rule.telling_later()
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    for more in ({"body": 1}, {"more": None}, {"org.matrix.msgid": "1"}):
        plain, changed = content, {**content, **more}
        keys = [read(later, (message_type, each)).key for each in (plain, changed)]
        again = read(later, (message_type, dict(reversed(plain.items())))).key
        assert isinstance(again, Later)
        again.source = json.dumps({"content": plain})
        same = len({read(rule, (message_type, each)).key for each in (plain, changed)})
        assert same == len({*keys, again}) == len({*map(hash, keys)})
        assert (1 == same) is (keys[0] == keys[1])
    untold = [read(later, (message_type, content), deep=deep).key for _ in "12"]
    assert 2 == len({*untold})
    assert 1 == len({untold[0], untold[0]})


def test_a_pair_is_of_a_device_and_a_request_or_of_a_transaction() -> None:
    """Of both types of verifications, whatever device they are of.

    All their cancellations say the same, whatever their reasons.
    """
    pair = Pair("@s:hs", "", "m.key.verification", ("1",))
    cancellations = [verification(CANCEL, code=code) for code in "ab"]

    assert Pair("@s:hs", "S1", KEY, ("1",)) == read(KEYS[0], KEYS[1]).pair
    assert pair == verification(from_device="T").pair
    assert {(pair, ANY)} == {(each.pair, each.key) for each in cancellations}


@EACH
def test_only_a_request_waits_for_an_answer(of: Of) -> None:
    """Of the device that asks: once that is gone, nobody heeds it.

    A cancellation stays, since a prompt may be waiting for it. IDs of devices are not
    unique across users.
    """
    rule, asks, takes_back = of
    request, cancellation = read(rule, asks), read(rule, takes_back)

    assert {("@s:hs", "S1")} == askers_of([request, cancellation])
    assert Staleness(gone={("@s:hs", "S1")}).applies_to(request)
    assert not Staleness(gone={("@s:hs", "S1")}).applies_to(cancellation)
    assert not Staleness(gone={("@s:hs", "T"), ("@t:hs", "S1")}).applies_to(request)


def test_a_verification_may_name_no_device() -> None:
    named = [verification(from_device=each) for each in (None, "", 1, "D" * 256)]

    assert set() == askers_of(named)


# Ten minutes, and a day.
HEEDED_FOR_MS = (10 + 24 * 60) * 60 * 1000


@pytest.mark.parametrize("from_device", ["S1", None])
def test_a_verification_expires_after_ten_minutes_and_a_day(from_device: Any) -> None:
    """Then every client ignores it, whatever its clock says; its cancellation stays."""
    later = [Staleness(now_ts=1000 + HEEDED_FOR_MS + more) for more in (-1, 0)]
    request, cancel = (
        verification(kind, timestamp=1000, from_device=from_device)
        for kind in (VERIFY, CANCEL)
    )

    assert [False, True] == [time.applies_to(request) for time in later]
    assert [False, False] == [time.applies_to(cancel) for time in later]


@pytest.mark.parametrize(
    ("timestamp", "expires_ts"),
    [
        (0, HEEDED_FOR_MS),
        (2**53, 2**53 + HEEDED_FOR_MS),
        # What is later than JSON holds exactly is no time.
        *((odd, None) for odd in (None, True, "1000", 1.5, -1, 2**53 + 1)),
    ],
)
def test_a_verification_without_a_time_never_expires(
    timestamp: Any, expires_ts: int | None
) -> None:
    found = verification(timestamp=timestamp)

    assert expires_ts == found.expires_ts
    assert expires_ts or not Staleness(now_ts=2**62).applies_to(found)

"""What no client heeds any more, in one mailbox."""

from __future__ import annotations

from typing import Any

from synapse_withheld.notice import Notice
from synapse_withheld.rules.requests import KeyRequests
from synapse_withheld.rules.verification import VerificationRequests
from synapse_withheld.staleness import Staleness, askers_of

REQUEST, CANCEL = "m.key.verification.request", "m.key.verification.cancel"
DAY_MS = 24 * 60 * 60 * 1000


def verification(kind: str, transaction: str = "1", **more: Any) -> Notice:
    """Return a message of a verification."""
    content = {"transaction_id": transaction, "from_device": "S", **more}
    found = VerificationRequests().read("@s:hs", kind, content)
    assert found is not None
    return found


def key_request(action: str = "request") -> Notice:
    """Return a key request, or its cancellation."""
    content = {"action": action, "requesting_device_id": "S", "request_id": "1"}
    found = KeyRequests().read("@s:hs", "m.room_key_request", content)
    assert found is not None
    return found


OLD = verification(REQUEST, timestamp=0)
FRESH = verification(REQUEST, "2", timestamp=DAY_MS)
CANCELLATION = verification(CANCEL)
LATER = Staleness(now_ts=2 * DAY_MS)


def among(staleness: Staleness, *notices: Notice) -> set[int]:
    """Return which are stale, counted from 1, the oldest."""
    numbered = list(enumerate(notices, 1))
    return staleness.among(numbered[::-1])


def test_what_has_expired_is_stale_where_something_newer_is() -> None:
    """The newest stays."""
    assert {1} == among(LATER, OLD, FRESH)
    assert set() == among(LATER, FRESH, OLD)
    assert set() == among(Staleness(DAY_MS), OLD, FRESH)


def test_what_has_expired_takes_its_later_cancellation_along() -> None:
    """Not an earlier one, nor that of another transaction."""
    other = verification(CANCEL, "2")

    assert {1, 2} == among(LATER, OLD, CANCELLATION, FRESH)
    assert {2} == among(LATER, CANCELLATION, OLD, FRESH)
    assert {1} == among(LATER, OLD, other, FRESH)
    # Beside it there would be nothing else.
    assert {1} == among(LATER, OLD, CANCELLATION)


def test_a_cancellation_of_what_has_not_expired_stays() -> None:
    """The request may have been shown."""
    assert set() == among(LATER, verification(REQUEST), CANCELLATION, FRESH)


def test_requests_of_a_device_that_is_gone_are_stale() -> None:
    """Their cancellations are not: a prompt may be waiting for them."""
    gone = Staleness(gone={("@s:hs", "S")})
    cancellation = key_request("request_cancellation")

    assert {1} == among(gone, key_request(), CANCELLATION)
    assert {1} == among(gone, key_request(), cancellation, CANCELLATION)
    assert {1} == among(gone, FRESH, verification(CANCEL, "2"), CANCELLATION)
    assert set() == among(Staleness(gone={("@s:hs", "T")}), key_request(), CANCELLATION)
    assert set() == among(Staleness(gone={("@t:hs", "S")}), key_request(), CANCELLATION)


def test_askers_are_those_that_wait_for_an_answer() -> None:
    """A request to verify without a device names none."""
    nameless = [verification(REQUEST, from_device=each) for each in (None, "", 1)]

    assert {("@s:hs", "S")} == askers_of([key_request(), FRESH])
    assert set() == askers_of([CANCELLATION, *nameless])
    assert set() == askers_of([key_request("request_cancellation")])

"""What no client heeds any more, in one mailbox."""

from __future__ import annotations

from typing import Any

from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.requests import KeyRequests
from synapse_withheld.rules.staleness import Staleness, askers_of
from synapse_withheld.rules.verification import VerificationRequests

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


LATER = Staleness(now_ts=2 * DAY_MS)


def old() -> Notice:
    """Return a request to verify that has expired later."""
    return verification(REQUEST, timestamp=0)


def fresh() -> Notice:
    """Return one of another transaction that has not."""
    return verification(REQUEST, "2", timestamp=DAY_MS)


def cancellation() -> Notice:
    """Return what takes the first one back."""
    return verification(CANCEL)


def among(staleness: Staleness, *notices: Notice) -> set[int]:
    """Return which are stale, counted from 1, the oldest."""
    numbered = list(enumerate(notices, 1))
    return staleness.among(numbered[::-1])


def test_what_has_expired_is_stale_where_something_newer_is() -> None:
    """The newest stays."""
    assert {1} == among(LATER, old(), fresh())
    assert set() == among(LATER, fresh(), old())
    assert set() == among(Staleness(DAY_MS), old(), fresh())


def test_what_has_expired_takes_its_later_cancellation_along() -> None:
    """Not an earlier one, nor that of another transaction."""
    other = verification(CANCEL, "2")

    assert {1, 2} == among(LATER, old(), cancellation(), fresh())
    assert {2} == among(LATER, cancellation(), old(), fresh())
    assert {1} == among(LATER, old(), other, fresh())
    # Beside it there would be nothing else.
    assert {1} == among(LATER, old(), cancellation())


def test_a_cancellation_of_what_has_not_expired_stays() -> None:
    """The request may have been shown."""
    assert set() == among(LATER, verification(REQUEST), cancellation(), fresh())


def test_requests_of_a_device_that_is_gone_are_stale() -> None:
    """Their cancellations are not: a prompt may be waiting for them."""
    gone = Staleness(gone={("@s:hs", "S")})
    taken_back = key_request("request_cancellation")

    assert {1} == among(gone, key_request(), cancellation())
    assert {1} == among(gone, key_request(), taken_back, cancellation())
    assert {1} == among(gone, fresh(), verification(CANCEL, "2"), cancellation())
    assert set() == among(
        Staleness(gone={("@s:hs", "T")}), key_request(), cancellation()
    )
    assert set() == among(
        Staleness(gone={("@t:hs", "S")}), key_request(), cancellation()
    )


def test_askers_are_those_that_wait_for_an_answer() -> None:
    """A request to verify without a device names none."""
    nameless = [verification(REQUEST, from_device=each) for each in (None, "", 1)]

    assert {("@s:hs", "S")} == askers_of([key_request(), fresh()])
    assert set() == askers_of([cancellation(), *nameless])
    assert set() == askers_of([key_request("request_cancellation")])

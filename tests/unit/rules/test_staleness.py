"""What no client heeds any more."""

from __future__ import annotations

from typing import Any

from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Staleness, askers_of
from synapse_withheld.rules.requests import KeyRequests, VerificationRequests

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


def test_a_request_is_stale_once_it_has_expired() -> None:
    """Its cancellation never is, whatever time it has."""
    later = Staleness(now_ts=2 * DAY_MS)

    assert later.applies_to(verification(REQUEST, timestamp=0))
    assert not later.applies_to(verification(REQUEST, timestamp=DAY_MS))
    assert not Staleness(DAY_MS).applies_to(verification(REQUEST, timestamp=0))
    assert not later.applies_to(verification(CANCEL, timestamp=0))
    assert not later.applies_to(verification(REQUEST))


def test_a_request_is_stale_once_its_device_is_gone() -> None:
    """Its cancellation is not: a prompt may be waiting for it."""
    gone = Staleness(gone={("@s:hs", "S")})

    assert gone.applies_to(key_request())
    assert gone.applies_to(verification(REQUEST))
    assert not gone.applies_to(key_request("request_cancellation"))
    assert not gone.applies_to(verification(CANCEL))


def test_only_the_device_of_the_same_user_counts() -> None:
    """IDs of devices are not unique across users."""
    for others in [("@s:hs", "T"), ("@t:hs", "S")]:
        assert not Staleness(gone={others}).applies_to(key_request())


def test_askers_are_those_that_wait_for_an_answer() -> None:
    """A request to verify without a device names none."""
    nameless = [verification(REQUEST, from_device=each) for each in (None, "", 1)]
    cancellations = [verification(CANCEL), key_request("request_cancellation")]

    assert {("@s:hs", "S")} == askers_of([key_request(), verification(REQUEST)])
    assert set() == askers_of([*cancellations, *nameless])

"""Taking batches apart and putting them together."""

from __future__ import annotations

from typing import Any

from synapse_withheld.delivery.batch import (
    Candidate,
    find_candidates,
    is_storable,
    users_to_keep_whole,
    without,
)
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair

NOTICE = Notice(NoOlm(), Pair("@s:hs", "device:S", "m.room_key.withheld"), "key")


def batch(**by_user: list[str]) -> dict[str, Any]:
    """Return a batch with a message for each device."""
    return {
        user: {device: {"n": (user, device)} for device in devices}
        for user, devices in by_user.items()
    }


def candidates(messages: dict[str, Any]) -> list[Candidate]:
    """Return all messages of a batch as candidates."""
    return find_candidates(messages, lambda _: NOTICE)


def test_only_a_lone_wildcard_is_one() -> None:
    """Beside other device IDs `*` is a device ID like any other."""
    found = candidates(batch(a=["*"], b=["*", "D"]))

    assert [True, False, False] == [each.lone_wildcard for each in found]
    assert [("a", "1"), ("a", "2")] == found[0].mailboxes({"a": ["1", "2"]})
    assert [("b", "*")] == found[1].mailboxes({"b": ["1", "2"]})


def test_finding_4_identifiers_that_a_database_refuses_are_no_candidates() -> None:
    """They are passed on before any statement names them."""
    assert [] == candidates(batch(a=["\0", "D\ud800"]))
    assert not is_storable("a\0")
    assert not is_storable("\udfff")
    assert is_storable("D\U0001f600")


def test_what_is_left_keeps_its_order_and_its_messages() -> None:
    """Only what is taken out is missing."""
    messages = batch(a=["1", "2", "3"], b=["1"], c=["1", "2"])
    taken = [
        each
        for each in candidates(messages)
        if (each.user_id, each.device_id) in {("a", "2"), ("b", "1")}
    ]

    left = without(messages, taken)

    assert list(batch(a=["1", "3"], c=["1", "2"]).items()) == list(left.items())
    assert ["1", "3"] == list(left["a"])
    assert left["a"]["1"] is messages["a"]["1"]


def test_finding_3_a_wildcard_is_never_left_alone_that_was_not_alone() -> None:
    """Synapse would store it for every device."""
    messages = batch(a=["*", "1", "2"], b=["*", "1"], c=["*"])
    by_key = {(each.user_id, each.device_id): each for each in candidates(messages)}

    assert {"a"} == users_to_keep_whole(
        messages, [by_key["a", "1"], by_key["a", "2"], by_key["c", "*"]]
    )
    assert set() == users_to_keep_whole(messages, [by_key["a", "1"]])
    assert set() == users_to_keep_whole(messages, [by_key["b", "*"], by_key["b", "1"]])


def test_users_without_messages_stay() -> None:
    """Synapse passes over them by itself."""
    assert {"a": {}} == without({"a": {}}, [])

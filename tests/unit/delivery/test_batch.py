"""What was looked at of a batch, and what may be taken out of it."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest

from synapse_withheld.delivery.batch import (
    ObservedBatch,
    Watched,
    may_be_taken_out,
    without,
)
from synapse_withheld.delivery.edus import as_messages, without_collapsed


def batch(**by_user: list[str]) -> dict[str, Any]:
    return {
        user: {device: {"n": (user, device)} for device in devices}
        for user, devices in by_user.items()
    }


def edu(messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"sender": "@s:hs", "type": "t", "message_id": "id"}
    return {**about, "messages": messages, **more}


def test_only_what_was_looked_at_can_have_been_stored() -> None:
    """A message for all is one for each."""
    stored = ObservedBatch(batch(a=["1", "2"], b=["*"], c=["*"]))
    assert not stored.passed_over(("a", "1"))
    watched = {user: Watched(messages) for user, messages in stored.items()}
    stored.watched = watched

    assert 2 == len(watched["a"]) == len(list(watched["a"].keys()))
    assert stored.passed_over(("a", "1"))
    assert stored["a"]["1"] is watched["a"]["1"] is watched["a"].get("1")
    assert "none" == watched["a"].get("3", "none")
    assert stored["b"]["*"] is watched["b"]["*"]
    keys = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "*"), ("c", "*")]
    assert [("a", "2"), ("c", "*")] == [key for key in keys if stored.passed_over(key)]


@pytest.mark.parametrize(
    "read",
    [
        dict,
        json.dumps,
        lambda messages: messages.get("1"),
        lambda messages: [*messages.values()],
    ],
)
def test_whatever_is_read_counts_as_looked_at(read: Callable[[Any], object]) -> None:
    """What Synapse may have stored is not taken for what no device exists for."""
    watched = Watched({"1": "for it"})
    read(watched)
    assert {"1"} == watched.looked_at


def test_a_wildcard_is_never_left_alone_that_was_not_alone() -> None:
    """Synapse would store it for every device."""
    messages = batch(a=["*", "1", "2"], b=["*", "1"], c=["*"], d=["1"])

    for taken_out, expected in [
        ({("a", "1"), ("a", "2"), ("d", "1")}, {("d", "1")}),
        ({("a", "1")}, {("a", "1")}),
        ({("b", "1")}, set()),
    ]:
        assert expected == may_be_taken_out(messages, taken_out)


def test_what_is_not_taken_out_stays_and_in_its_order() -> None:
    left = without(batch(a=["1"], b=["1", "2"], c=["1"]), {("b", "1")})
    assert [*batch(a=["1"], b=["2"], c=["1"]).items()] == [*left.items()]


@pytest.mark.parametrize(
    "edus",
    [
        {"one": edu({}), "two": edu({}, sender="@other:hs")},
        {"one": edu({}), "two": edu({}, type="other")},
        {"one": edu({"@a:two": {"A": {}}})},
        {"one": edu({"without a server": {"A": {}}})},
    ],
)
def test_edus_that_synapse_does_not_make_of_a_request_are_left_alone(edus: Any) -> None:
    """Of several senders or types, or to a server that is not its users'."""
    assert as_messages(edus) is None


def test_what_is_left_of_edus_is_a_copy_where_anything_is_taken_out() -> None:
    """In its order: whoever sent them may send them again.

    Users without devices say nothing.
    """
    one, two = edu({"@a:one": {"A": {}, "B": {}, "C": {}}}), edu({"@c:two": {"C": {}}})
    left = without_collapsed({"two": two, "one": one}, {("@a:one", "A")})

    assert left == {"one": edu({"@a:one": {"B": {}, "C": {}}}), "two": two}
    assert [["two", "one"], ["B", "C"]] == [
        [*left],
        [*left["one"]["messages"]["@a:one"]],
    ]
    assert left["two"] is two
    assert one == edu({"@a:one": {"A": {}, "B": {}, "C": {}}})
    nothing = {"one": edu({"@a:one": {"A": {}}, "@b:one": {}})}
    assert {} == without_collapsed(nothing, {("@a:one", "A")})

"""Taking batches apart and putting them together."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest

from synapse_withheld.delivery.batch import (
    Edus,
    ObservedBatch,
    Watched,
    is_storable,
    may_be_taken_out,
    users_of,
    without,
)


def batch(**by_user: list[str]) -> dict[str, Any]:
    return {
        user: {device: {"n": (user, device)} for device in devices}
        for user, devices in by_user.items()
    }


def test_a_database_is_asked_only_about_identifiers_that_it_takes() -> None:
    """The others are passed on before any statement names them."""
    assert not is_storable("a\0")
    assert not is_storable("\udfff")
    assert is_storable("D\U0001f600")


def test_what_is_left_keeps_its_order_and_its_messages() -> None:
    messages = batch(z=["1"], a=["1", "2", "3"], b=["1"], c=["1", "2"])

    left = without(messages, {("a", "2"), ("b", "1")})

    assert list(batch(z=["1"], a=["1", "3"], c=["1", "2"]).items()) == list(
        left.items()
    )
    assert ["1", "3"] == list(left["a"])
    assert left["a"]["1"] is messages["a"]["1"]
    assert left["c"] is messages["c"]
    # Nothing is known yet of how it is stored; Synapse passes over users without any.
    assert without({"a": {}}, ()).stream_id is None
    assert {"a": {}} == without({"a": {}}, ())


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
    for key, passed_over in [
        (("a", "1"), False),
        (("a", "2"), True),
        (("b", "1"), False),
        (("b", "*"), False),
        (("c", "*"), True),
    ]:
        assert passed_over is stored.passed_over(key)


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


def test_a_batch_is_for_users_of_all_servers() -> None:
    """Those of this one, and those that its EDUs name."""
    edus: Edus = {"there": {"messages": {"@b:there": {"B": {}}}}}

    assert {"a", "@b:there"} == users_of(batch(a=["1"]), edus)

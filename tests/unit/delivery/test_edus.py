"""EDUs for other servers as messages, and what is kept of them as EDUs."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.delivery.edus import (
    as_messages,
    type_of,
    users_sharing,
    without_collapsed,
)


def edu(messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "sender": "@s:hs",
        "type": "t",
        "message_id": "id",
        "messages": messages,
        **more,
    }


def test_edus_are_messages_of_one_sender_and_type() -> None:
    """Each for the devices of the server that it goes to."""
    edus = {
        "one": edu({"@a:one": {"A": {"n": 1}, "B": {"n": 2}}}),
        "two": edu({"@c:two": {"C": {"n": 3}}}),
    }

    def message(number: int) -> dict[str, Any]:
        return {"content": {"n": number}, "type": "t", "sender": "@s:hs"}

    assert as_messages(edus) == {
        "@a:one": {"A": message(1), "B": message(2)},
        "@c:two": {"C": message(3)},
    }


@pytest.mark.parametrize(
    "edus",
    [
        {"one": edu({}), "two": edu({}, sender="@other:hs")},
        {"one": edu({}), "two": edu({}, type="other")},
        {"one": edu({"@a:two": {"A": {}}})},
        {"one": edu({"without a server": {"A": {}}})},
    ],
)
def test_what_synapse_does_not_make_of_a_request_is_left_alone(
    edus: dict[str, Any],
) -> None:
    """Of several senders or types, or to a server that is not its users'."""
    assert as_messages(edus) is None


def test_the_type_of_edus_is_that_of_the_first() -> None:
    """None where there is none, or where it is no EDU at all."""
    assert type_of({"one": edu({}), "two": edu({})}) == "t"
    assert type_of({}) is None
    assert type_of({"one": "no EDU"}) is None


def test_what_is_left_of_edus_is_a_copy_where_anything_is_taken_out() -> None:
    """Whoever sent them may send them again."""
    one, two = edu({"@a:one": {"A": {}, "B": {}}}), edu({"@c:two": {"C": {}}})

    for edus in ({"one": one, "two": two}, {"two": two, "one": one}):
        left = without_collapsed(edus, {("@a:one", "A")})
        assert left == {"one": edu({"@a:one": {"B": {}}}), "two": two}
    assert left["two"] is two
    assert one == edu({"@a:one": {"A": {}, "B": {}}})


def test_an_edu_of_which_nothing_is_left_is_not_queued() -> None:
    """Users without devices say nothing either."""
    one = edu({"@a:one": {"A": {}}, "@b:one": {}})

    assert without_collapsed({"one": one}, {("@a:one", "A")}) == {}


def test_users_share_a_row_where_an_edu_has_more_than_one_message() -> None:
    """Such a row is never deleted for one of them."""
    edus = {
        "one": edu({"@a:one": {"A": {}}, "@b:one": {"B": {}}}),
        "two": edu({"@c:two": {"C": {}, "D": {}}}),
        "three": edu({"@e:three": {"E": {}}, "@f:three": {}}),
    }

    assert users_sharing(edus) == {"@a:one", "@b:one", "@c:two"}

"""The rule `withheld`: one message for each session that is kept back."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import SESSION_CODES
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import SessionWithheld

RULE = SessionWithheld()
WITHHELD = "m.room_key.withheld"
CONTENT = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "code": "m.unverified",
    "sender_key": "K" * 43,
    "from_device": "S",
    "room_id": "!room:hs",
    "session_id": "session",
}


def read(**changed: Any) -> Notice | None:
    """Read a message that says something else in part."""
    return RULE.read("@s:hs", WITHHELD, {**CONTENT, **changed})


def notice(**changed: Any) -> Notice:
    """Read what has to be about a session."""
    found = read(**changed)
    assert found is not None
    return found


@pytest.mark.parametrize("code", [*SESSION_CODES, "org.example.reason", "c" * 255])
def test_every_code_about_a_session_is_named(code: str) -> None:
    """Those of the specification, and what senders make up."""
    found = notice(code=code)

    session = ("!room:hs", "session", "K" * 43)
    assert Pair("@s:hs", "device:S", WITHHELD, session) == found.pair
    assert (code, "K" * 43) == (found.variant, found.key)


@pytest.mark.parametrize(
    "changed",
    [
        {"code": "m.no_olm"},
        {"code": ""},
        {"code": "c" * 256},
        {"code": ["m.unverified"]},
        {"code": None},
        {"algorithm": "m.olm"},
        {"room_id": None},
        {"session_id": None},
        {"session_id": 7},
        {"sender_key": ""},
    ],
)
def test_what_is_not_about_a_session_is_not_named(changed: dict[str, Any]) -> None:
    """It is stored as it is."""
    assert read(**changed) is None


@pytest.mark.parametrize("name", ["session_id", "room_id", "sender_key", "from_device"])
def test_each_session_and_each_device_is_told_of_by_itself(name: str) -> None:
    """Never across sessions: each is about another key."""
    one, other = read(), read(**{name: "another"})

    assert one is not None
    assert other is not None
    assert one.pair != other.pair


def test_a_queued_message_says_as_much_as_one_with_its_code() -> None:
    """Another code for the session is news."""
    one, again = notice(), notice(reason="again")
    other = notice(code="org.example.reason")

    assert RULE.says_as_much(one, again)
    assert not RULE.says_as_much(one, other)
    assert decision.REPEATED == RULE.why_stored(one, again)
    assert decision.NEW_CODE == RULE.why_stored(one, other)


def test_any_code_makes_any_older_one_of_the_session_redundant() -> None:
    """The newest state counts."""
    one, other = notice(), notice(code="org.example.reason")

    assert RULE.takes(one, seen_arriving=False) == RULE.yields_to(other)

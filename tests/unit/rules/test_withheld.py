"""The rule `withheld`: one message for each session that is kept back."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import SESSION_CODES
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import SessionWithheld
from tests.unit.rules.test_content import content

RULE = SessionWithheld()
WITHHELD = "m.room_key.withheld"


def read(**changed: Any) -> Notice | None:
    session = {"from_device": "S", "room_id": "!room:hs", "session_id": "session"}
    about = {"code": "m.unverified", **session, **changed}
    return RULE.read("@s:hs", WITHHELD, content(**about))


@pytest.mark.parametrize("code", [*SESSION_CODES, "org.example.reason", "c" * 255])
def test_every_code_about_a_session_is_named(code: str) -> None:
    """Those of the specification, and what senders make up."""
    pair = Pair("@s:hs", "device:S", WITHHELD, ("!room:hs", "session", "K" * 43))

    assert Notice(RULE, pair, "K" * 43, code) == read(code=code)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("code", ["m.no_olm", "", "c" * 256, ["m.unverified"], None]),
        ("algorithm", ["m.olm"]),
        ("room_id", [None]),
        ("session_id", [None, 7]),
        ("sender_key", [""]),
    ],
)
def test_what_is_not_about_a_session_is_not_named(name: str, values: Any) -> None:
    assert all(read(**{name: value}) is None for value in values)


@pytest.mark.parametrize("name", ["session_id", "room_id", "sender_key", "from_device"])
def test_each_session_and_each_device_is_told_of_by_itself(name: str) -> None:
    """Never across sessions: each is about another key."""
    one, other = read(), read(**{name: "another"})

    assert one is not None
    assert other is not None
    assert one.pair != other.pair


def test_a_queued_message_says_as_much_as_one_with_its_code() -> None:
    one, again, other = read(), read(reason="again"), read(code="org.example.reason")
    assert one is not None
    assert again is not None
    assert other is not None

    assert RULE.says_as_much(one, again)
    assert not RULE.says_as_much(one, other)
    assert decision.REPEATED == RULE.why_stored(one, again)
    assert decision.NEW_CODE == RULE.why_stored(one, other)

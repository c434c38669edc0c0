"""The rule `withheld`: one message for each session that is kept back."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules import decision
from synapse_withheld.rules.content import SESSION_CODES
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import SessionWithheld
from tests.model.play import Play

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


def play() -> Play:
    """Return a homeserver with this rule alone."""
    return Play(rules=RulesConfig(no_olm=False, withheld=True))


@pytest.mark.parametrize("code", SESSION_CODES)
def test_each_code_about_a_session_is_named(code: str) -> None:
    """Those of the specification."""
    found = read(code=code)

    assert found is not None
    assert SESSION_CODES.index(code) == found.variant
    session = ("!room:hs", "session", "K" * 43)
    assert Pair("@s:hs", "device:S", WITHHELD, session) == found.pair
    assert found.key == "K" * 43


@pytest.mark.parametrize(
    "changed",
    [
        {"code": "m.no_olm"},
        {"code": "org.example.reason"},
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


def test_a_repeat_of_a_queued_message_is_not_stored() -> None:
    """However its reason is worded."""
    on = play()
    on.send(CONTENT)
    on.send({**CONTENT, "reason": "again"})

    assert [1] == on.queued()


def test_another_code_for_the_session_takes_the_place_of_the_queued_one() -> None:
    """The newest state counts."""
    on = play()
    on.send(CONTENT)
    on.send({**CONTENT, "code": "m.blacklisted"})
    on.send(CONTENT)

    assert [3] == on.queued()


def test_a_message_that_was_read_may_be_repeated() -> None:
    """With `repeat: session` too: that is about Olm sessions."""
    for repeat in ("queued", "session"):
        on = Play(rules=RulesConfig(withheld=True), repeat=repeat)
        on.send(CONTENT)
        on.hs.acknowledge("@r:here", "R", 1)
        on.send(CONTENT)

        assert [2] == on.queued()


def test_without_the_rule_every_repeat_is_stored() -> None:
    """That is the default."""
    assert not Config().rules.withheld
    on = Play()
    on.send(CONTENT)
    on.send(CONTENT)

    assert [1, 2] == on.queued()


def test_what_stands_to_what() -> None:
    """Only another code is news, and any newer message takes an older one's place."""
    on = play()
    on.send(CONTENT)
    notice = read()
    assert notice is not None
    earlier = on.index.queued(("@r:here", "R"), RULE.read("@s:here", WITHHELD, CONTENT))

    assert RULE.news(notice.variant, earlier) is None
    assert decision.NEW_CODE == RULE.news(notice.variant + 1, earlier)
    assert RULE.supersedes(0, 1, same_key=False)

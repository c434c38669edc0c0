"""What kind of message a row holds, told without reading all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.config import Config
from synapse_withheld.rules.content import code_of
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.kinds import SEVERAL, UNREADABLE, Kind, kind_of, kind_shown
from synapse_withheld.sweep.survey import ALL_RULES
from tests.harness.backlog import notice, other, text_of
from tests.harness.messages import WITHHELD, make_notice

ALL = Ruleset.of(Config(rules=ALL_RULES))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "sender", "content", 'a","type":"', "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["m.dummy", WITHHELD, 'a","type":"b', "\\", "é", "a\n", "", 'x"}', "\ud800"]
)


def written(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def told(text: str, *known: Any, whole: bool = True) -> Kind:
    """Return the kind, told as a survey tells it."""
    return kind_of(text, kind_shown(text), *known, whole=whole)


def plainly(text: str) -> Kind:
    message = json.loads(text)
    kind = Kind(message["type"])
    if kind.type != WITHHELD:
        return kind
    return kind._replace(code=code_of(message.get("content")))


@given(NAMES, NAMES, JSON)
def test_a_row_of_a_mailbox_is_told_by_its_end(
    message_type: str, sender: str, content: Any
) -> None:
    """Whatever anybody wrote into the content, the type or the name."""
    message = {"content": content, "type": message_type, "sender": sender}
    assert plainly(written(message)) == told(written(message))
    if WITHHELD != message_type:
        ends = written(message)[:1000] + "\n" + written(message)[-1000:]
        assert Kind(message_type) == told(ends, whole=False)


@given(NAMES, NAMES, JSON, st.booleans())
def test_a_row_of_an_outbox_is_told_by_either_end(
    message_type: str, sender: str, content: Any, old: bool
) -> None:
    """Synapse has written what is in it in two orders."""
    names = {"sender": sender, "type": message_type, "message_id": "i"}
    messages = {"messages": {"@u:hs": {"D": content}}}
    edu = {**messages, **names, "t": "{}"} if old else {**names, **messages}
    expected = Kind(message_type)
    if WITHHELD == message_type:
        expected = expected._replace(code=code_of(content))
    assert expected == told(written(edu))


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", '"type"', '{"type":1}'])
def test_what_holds_no_message_is_unreadable(text: str) -> None:
    assert UNREADABLE == told(text)
    assert UNREADABLE == told(text, whole=False)


def test_a_long_type_is_cut() -> None:
    """Senders choose types, and what is counted is remembered."""
    kind = told(text_of("@s:hs", "x" * 100_000, {}))
    assert 255 == len(kind.type)


def test_an_edu_of_several_codes_says_so() -> None:
    """It is one row."""
    contents = [make_notice("k", None), {"code": "m.unverified"}]
    by_device = dict(zip("AB", contents))
    edu = {"type": WITHHELD, "messages": {"@u:hs": by_device, "@v:hs": 5}}
    assert Kind(WITHHELD, SEVERAL) == told(written(edu))
    by_device["B"] = contents[0]
    assert Kind(WITHHELD, "m.no_olm") == told(written(edu))


@pytest.mark.parametrize(
    "text",
    [
        notice(),
        notice(code="m.unverified", room_id="!r:hs", session_id="s"),
        notice(code="own", room_id="!r:hs", session_id="s"),
        other(),
    ],
)
def test_a_notice_that_is_known_says_the_same(text: str) -> None:
    """It is not read a second time."""
    known = ALL.recognise(json.loads(text))
    assert plainly(text) == told(text, known)

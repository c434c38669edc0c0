"""What kind of message a row holds, told without reading all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.rules.content import code_of
from synapse_withheld.sweep.kinds import UNREADABLE, Kind, kind_of, type_of
from tests.harness.clients.messages import WITHHELD
from tests.harness.databases.backlog import text_of

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


def told(text: str, *, whole: bool = True) -> Kind:
    return kind_of(text, type_of(text), whole=whole)


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

"""What kind of message a row holds, and how rows are added up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synapse_withheld.database.survey import END
from synapse_withheld.rules.content import WITHHELD_TYPES, code_of
from synapse_withheld.sweep.inventory import MOST_KINDS, OTHERS, Inventory, Long
from synapse_withheld.sweep.kinds import SEVERAL, UNREADABLE, Kind, kind_of, kind_shown
from tests.harness.backlog import text_of
from tests.harness.messages import WITHHELD
from tests.model.tables import compact


def told(text: str) -> Kind:
    return kind_of(text, kind_shown(text))


def told_by_ends(text: str) -> Kind:
    """Return the kind as it is told where a text is too long to be read whole."""
    ends = f"{text[:END]}\n{text[-END:]}"
    return kind_of(ends, kind_shown(ends), whole=False)


def plainly(text: str) -> Kind:
    """Return the kind of a message in a mailbox, told by reading all of it."""
    try:
        message = json.loads(text)
    except ValueError:
        return UNREADABLE
    is_withheld = message["type"] in WITHHELD_TYPES
    return Kind(message["type"], code_of(message["content"]) if is_withheld else "")


KEYS = st.sampled_from(["type", "sender", "content", 'a","type":"', "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["m.dummy", WITHHELD, 'a","type":"b', "\\", "é", "a\n", "", 'x"}', "\ud800"]
)


@example("m.dummy", "@s:hs", {"x": 1, "type": "inside"})
@given(NAMES, NAMES, JSON)
def test_the_kind_of_a_row_is_told_by_its_ends(
    message_type: str, sender: str, content: Any
) -> None:
    """Whatever anybody wrote into the content, the type or the name."""
    names = {"sender": sender, "type": message_type, "message_id": "i"}
    text = compact({"content": content, "type": message_type, "sender": sender})
    messages = {"messages": {"@u:hs": {"D": content}}}
    # Synapse has written what is in an outbox in two orders.
    edus = ({**messages, **names, "t": "{}"}, {**names, **messages})
    for each in (text, *map(compact, edus)):
        assert plainly(text) == told(each)
        assert WITHHELD == message_type or Kind(message_type) == told_by_ends(each)


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", '"type"', '{"type":1}'])
def test_what_holds_no_message_is_unreadable(text: str) -> None:
    assert UNREADABLE == told(text) == told_by_ends(text)


@pytest.mark.parametrize("odd", ["x", '"' + "a" * 200, "\\", "\ud800"])
def test_a_long_type_is_cut(odd: str) -> None:
    """Senders choose types, and what is counted is remembered."""
    text = text_of("@s:hs", odd * 9000, {})
    assert (odd * 255)[:255] == told(text).type
    # An end may begin in the middle of it.
    assert told_by_ends(text) in (UNREADABLE, told(text))


def test_an_edu_of_several_codes_says_so() -> None:
    """It is one row."""
    for code, kind in (("m.unverified", SEVERAL), ("own", "other")):
        by_device = {"A": {"code": "own"}, "B": {"code": code}}
        edu = {"type": WITHHELD, "messages": {"@u:hs": by_device, "@v:hs": 5}}
        assert Kind(WITHHELD, kind) == told(compact(edu))


def test_a_hundred_messages_are_a_sync() -> None:
    assert [1, 1, 2] == [Long(("x",), rows, ()).syncs for rows in (1, 100, 101)]


def test_invented_types_take_no_memory() -> None:
    """What is beyond the bound is counted together."""
    made = Inventory(10)
    made.add((("x",), Kind(f"t{number}"), 1) for number in range(3 * MOST_KINDS))
    made.end()
    assert MOST_KINDS + 1 >= len(made.kinds.sums)
    assert 2 * MOST_KINDS == made.kinds.sums[OTHERS].rows

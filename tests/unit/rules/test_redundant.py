"""What is redundant in a mailbox, held against the table of the design.

The reference holds each row against each newer one, as the table says it.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from synapse_withheld.config import Config
from synapse_withheld.rules.redundant import Backwards, Row, redundant
from synapse_withheld.rules.ruleset import Ruleset
from tests.harness.rules import EVERY_RULE
from tests.model.redundancy import goes

WITHHELD = "m.room_key.withheld"
OLDER_WITHHELD = "org.matrix.room_key.withheld"
KEY_REQUEST, SECRET_REQUEST = "m.room_key_request", "m.secret.request"
VERIFICATION_REQUEST = "m.key.verification.request"
VERIFICATION_CANCEL = "m.key.verification.cancel"

RULES = {
    merge_scopes: Ruleset.of(Config(rules=EVERY_RULE, merge_scopes=merge_scopes))
    for merge_scopes in (True, False)
}


@attrs.frozen
class Message:
    """A message in a mailbox, and what is known of it beside what it says."""

    sender: str
    type: str
    content: dict[str, Any]
    seen: bool = False
    stale: bool = False


def makes_redundant(newer: Message, older: Message, merges: bool) -> bool:
    said = [
        {"sender": each.sender, "type": each.type, "content": each.content}
        for each in (older, newer)
    ]
    return goes(*said, merge_scopes=merges, newer_seen=newer.seen)


def reference(messages: list[Message], newest_id: int, *, merges: bool) -> set[int]:
    return {
        number
        for number, older in enumerate(messages, 1)
        if (older.stale and number < newest_id)
        or any(makes_redundant(newer, older, merges) for newer in messages[number:])
    }


def rows_of(messages: list[Message], *, merges: bool = True) -> list[Row]:
    rows = []
    for number, each in enumerate(messages, 1):
        notice = RULES[merges].read(each.sender, each.type, each.content)
        assert notice is not None
        rows.append(Row(number, notice, each.seen, each.stale))
    return rows


# Few of everything, so that they meet.
def _maybe(**choices: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    drawn = {name: st.sampled_from(values) for name, values in choices.items()}
    return st.fixed_dictionaries(drawn).map(
        lambda each: {name: value for name, value in each.items() if value is not None}
    )


WITHHELD_CONTENTS = _maybe(
    algorithm=["m.megolm.v1.aes-sha2"],
    code=["m.no_olm"] * 4,
    sender_key=["key1", "key1", "key2"],
    from_device=["D", "D", "D", None],
    room_id=[None, None, "!a", "!b"],
    session_id=[None, None, "1"],
    reason=[None, "a", "b"],
)
SESSION_CONTENTS = _maybe(
    algorithm=["m.megolm.v1.aes-sha2"],
    code=["m.unverified", "m.blacklisted", "org.example"],
    sender_key=["key1", "key1", "key2"],
    from_device=["D", None],
    room_id=["!a"],
    session_id=["1", "1", "2"],
)
REQUEST_CONTENTS = _maybe(
    action=["request", "request", "request_cancellation"],
    requesting_device_id=["D", "D", "E"],
    request_id=["1", "1", "1", "2"],
    body=[None, {"a": 1, "b": 2}, {"b": 2, "a": 1}],
    **{"org.matrix.msgid": [None, "1", "2"]},
)
VERIFICATION_CONTENTS = _maybe(
    transaction_id=["1", "1", "1", "2"],
    from_device=["D", "E"],
    timestamp=[1, 1, 2],
    **{"org.matrix.msgid": [None, "1", "2"]},
)
SENDERS = st.sampled_from(["@s:hs"] * 5 + ["@t:hs"])

ASKED = Message(
    "@s:hs",
    KEY_REQUEST,
    {"action": "request", "requesting_device_id": "D", "request_id": "1"},
)


def _messages(
    types: list[str],
    contents: st.SearchStrategy[dict[str, Any]],
    *,
    stale: bool = False,
) -> st.SearchStrategy[Message]:
    def clean(message: Message) -> Message:
        # Only requests become stale.
        is_request = message.type == VERIFICATION_REQUEST or (
            message.content.get("action") == "request"
        )
        return attrs.evolve(message, stale=message.stale and is_request)

    return st.builds(
        Message,
        SENDERS,
        st.sampled_from(types),
        contents,
        seen=st.booleans(),
        stale=st.sampled_from([False, False, stale]),
    ).map(clean)


MESSAGES = st.one_of(
    _messages([WITHHELD] * 4 + [OLDER_WITHHELD], WITHHELD_CONTENTS),
    _messages([WITHHELD], SESSION_CONTENTS),
    _messages([KEY_REQUEST] * 4 + [SECRET_REQUEST], REQUEST_CONTENTS, stale=True),
    _messages(
        [VERIFICATION_REQUEST, VERIFICATION_CANCEL], VERIFICATION_CONTENTS, stale=True
    ),
)
KINDS = st.one_of(
    st.lists(_messages([WITHHELD], WITHHELD_CONTENTS), max_size=8),
    st.lists(MESSAGES, max_size=25),
)


# What goes for a stale one, goes for what that goes for.
@example(messages=[ASKED, attrs.evolve(ASKED, stale=True)], more=1, merges=True)
@given(KINDS, st.integers(0, 1), st.booleans())
def test_what_may_go_is_what_the_table_says(
    messages: list[Message], more: int, merges: bool
) -> None:
    """Each row for a newer one that stays itself, and in the order of the rows.

    So a second look finds nothing, whatever went in between, and who has only what
    earlier ones left finds what is found at once.
    """
    newest_id = len(messages) + more
    rows = rows_of(messages, merges=merges)
    found = redundant(rows, newest_id)
    expected = reference(messages, newest_id, merges=merges)
    event(f"{min(len(expected), 5)} may go")

    assert sorted(expected) == [older for older, _ in found]
    for older, newer in found:
        assert older < newer <= newest_id
        assert newer not in expected
        if messages[older - 1].stale:
            assert newest_id == newer
            continue
        # By way of others that go, at most.
        assert newer == newest_id or _leads_to(newer, older, messages, merges)


def _leads_to(newer: int, older: int, messages: list[Message], merges: bool) -> bool:
    reached = {older}
    for number in range(older + 1, newer + 1):
        if any(
            makes_redundant(messages[number - 1], messages[each - 1], merges)
            for each in reached
        ):
            reached.add(number)
    return newer in reached


@given(st.lists(MESSAGES, max_size=12), st.booleans())
def test_no_slots_left_means_that_rows_stay(
    messages: list[Message], merges: bool
) -> None:
    rows = rows_of(messages, merges=merges)
    everything = {older for older, _ in redundant(rows, len(rows))}
    for most in range(4):
        walk = Backwards(len(rows), most)
        found = {row.stream_id for row in rows[::-1] if walk.judge(row) is not None}
        assert found <= everything


def requests(bodies: str) -> list[Row]:
    """Return the rows of requests of one pair, each with its body."""
    about = {"action": "request", "requesting_device_id": "D", "request_id": "1"}
    return rows_of(
        [Message("@s:hs", KEY_REQUEST, {**about, "body": body}) for body in bodies]
    )


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        # Of all that was seen together.
        ("123321", [None, None, None, None, 5, 6]),
        # Copies take no more: there is room for others beside any number of them.
        ("11222", [None, 5, 5, None, 2]),
    ],
)
def test_so_many_slots_are_taken(bodies: str, expected: list[int | None]) -> None:
    walk = Backwards(len(bodies), most_slots=2)

    assert expected == [walk.judge(row) for row in requests(bodies)[::-1]]


def test_a_row_costs_the_same_however_many_its_pair_has() -> None:
    rows = requests("".join(map(chr, range(1000, 3000))))
    walk = Backwards(len(rows))

    for row in rows[::-1]:
        assert walk.judge(row) is None
        assert len(row.notice.rule.yields_to(row.notice)) <= 4
        assert len(row.notice.rule.takes(row.notice, seen_arriving=True)) <= 2

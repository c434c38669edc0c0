"""What is redundant in a mailbox, held against the table of the design.

The reference holds each row against each newer one, as the table says it.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules.redundant import Backwards, Row, redundant
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.withheld import NoOlm
from tests.harness.rules import EVERY_RULE
from tests.model import messages as model
from tests.model.client import KEY_REQUEST, TRACING, VERIFICATION_REQUEST
from tests.model.redundancy import goes

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


def _messages(said: st.SearchStrategy[model.Message]) -> st.SearchStrategy[Message]:
    """Return messages that differ in little, so that they meet."""

    def message(
        sender: str, said: model.Message, more: Any, seen: bool, stale: bool
    ) -> Message:
        kind, content = said
        # Nothing else becomes stale.
        asks = kind == VERIFICATION_REQUEST or content.get("action") == "request"
        return Message(sender, kind, {**content, **more}, seen, stale and asks)

    return st.builds(
        message,
        st.sampled_from(["@s:hs"] * 5 + ["@t:hs"]),
        said,
        st.sampled_from([{}, {TRACING: "1"}, {TRACING: "2"}, {"more": "a"}]),
        st.booleans(),
        st.sampled_from([False, False, True]),
    )


MESSAGES = _messages(
    st.one_of(model.notices, model.messages.filter(lambda said: said[0] != "m.dummy"))
)
KINDS = st.one_of(
    st.lists(_messages(model.notices), max_size=8), st.lists(MESSAGES, max_size=25)
)
ASKED = Message("@s:hs", *model.request(KEY_REQUEST, "request"))


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
    found = redundant(rows_of(messages, merges=merges), newest_id)
    expected = reference(messages, newest_id, merges=merges)

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
        others = [messages[each - 1] for each in reached]
        if any(makes_redundant(messages[number - 1], each, merges) for each in others):
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
    asked = [{**ASKED.content, "body": body} for body in bodies]
    return rows_of([attrs.evolve(ASKED, content=each) for each in asked])


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


@given(MESSAGES)
def test_no_two_rules_name_one_message(message: Message) -> None:
    """And what names it says so in every row."""
    said = (message.sender, message.type, message.content)
    rules = RULES[True]
    of = [rule for rule in rules.rules if message.type in rule.types]
    found = [notice for rule in of if (notice := rule.read(*said))]

    assert found == [rules.read(*said)]
    assert any(mark in repr(said) for mark in found[0].rule.marks)
    assert any(mark in repr(said) for mark in rules.marks)


# Which rules there are.


def test_every_name_of_the_configuration_is_a_rule() -> None:
    """Of which one is on by default."""
    names = [each.name for each in attrs.fields(RulesConfig)]

    assert names == [rule.name for rule in RULES[True].rules]
    assert (NoOlm(),) == Ruleset.of(Config()).rules


def test_cancellations_vanish_where_that_is_chosen() -> None:
    for name in ("key_requests", "secret_requests"):
        changed: dict[str, Any] = {name: "vanish"}
        rules = Ruleset.of(Config(rules=attrs.evolve(EVERY_RULE, **changed))).rules
        assert [name] == [each.name for each in rules if each.vanishes]


def test_where_types_say_enough_no_code_is_looked_for() -> None:
    def marks(**chosen: bool) -> tuple[str, ...]:
        return Ruleset.of(Config(rules=RulesConfig(**chosen))).marks

    assert ("m.no_olm", "m.secret.request") == marks(secret_requests=True)
    assert ("room_key.withheld",) == marks(withheld=True)

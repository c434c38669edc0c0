"""What is redundant in a mailbox, held against the table of the design.

The reference holds each row against each newer one, as the table says it.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import event, given
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


# The reference.


def reference(messages: list[Message], newest_id: int, *, merges: bool) -> set[int]:
    return {
        number
        for number, older in enumerate(messages, 1)
        if (older.stale and number < newest_id)
        or any(makes_redundant(newer, older, merges) for newer in messages[number:])
    }


def makes_redundant(newer: Message, older: Message, merges: bool) -> bool:
    said = [
        {"sender": each.sender, "type": each.type, "content": each.content}
        for each in (older, newer)
    ]
    return goes(*said, merge_scopes=merges, newer_seen=newer.seen)


# What is asked.


def rows_of(messages: list[Message], *, merges: bool = True) -> list[Row]:
    rows = []
    for number, each in enumerate(messages, 1):
        notice = RULES[merges].read(each.sender, each.type, each.content)
        assert notice is not None
        rows.append(Row(number, notice, each.seen, each.stale))
    return rows


def gone(*messages: Message, merges: bool = True, more: int = 0) -> dict[int, int]:
    """Return which of a mailbox's messages may go, and for which others.

    Args:
        messages: The oldest first; numbered from 1.
        merges: Whether scopes are merged.
        more: How many rows without a notice come after them.
    """
    rows = rows_of(list(messages), merges=merges)
    return dict(redundant(rows, len(messages) + more))


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


@given(KINDS, st.integers(0, 1), st.booleans())
def test_what_may_go_is_what_the_table_says(
    messages: list[Message], more: int, merges: bool
) -> None:
    """Each row for a newer one that stays itself, and in the order of the rows."""
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


@given(KINDS, st.integers(0, 1), st.booleans())
def test_of_what_stays_nothing_may_go(
    messages: list[Message], more: int, merges: bool
) -> None:
    """So that a second look finds nothing, whatever went in between."""
    rows = rows_of(messages, merges=merges)
    newest_id = len(messages) + more
    may_go = {older for older, _ in redundant(rows, newest_id)}
    stay = [row for row in rows if row.stream_id not in may_go]

    assert [] == redundant(stay, newest_id)


@given(KINDS, st.booleans())
def test_settling_one_by_one_leaves_what_is_found_at_once(
    messages: list[Message], merges: bool
) -> None:
    """Though whoever settles has only what earlier ones left."""
    fresh = [attrs.evolve(each, stale=False) for each in messages]
    rows = rows_of(fresh, merges=merges)
    left: list[Row] = []
    for row in rows:
        left.append(row)
        may_go = {older for older, _ in redundant(left, row.stream_id)}
        left = [each for each in left if each.stream_id not in may_go]
    may_go = {older for older, _ in redundant(rows, len(rows))}

    assert left == [row for row in rows if row.stream_id not in may_go]


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


def test_slots_of_all_that_was_seen_are_counted_together() -> None:
    one, two, three = (key_request(body=body) for body in "123")
    rows = rows_of([one, two, three, three, two, one])
    walk = Backwards(6, most_slots=2)

    expected = [None, None, None, None, 5, 6]
    assert expected == [walk.judge(row) for row in rows[::-1]]


def test_copies_take_no_more_slots() -> None:
    """There is room for others beside any number of them."""
    rows = rows_of([key_request(body="1")] * 2 + [key_request(body="2")] * 3)
    walk = Backwards(5, most_slots=2)

    assert [None, 5, 5, None, 2] == [walk.judge(row) for row in rows[::-1]]


def no_olm(key: str = "key1", *, seen: bool = False, **more: Any) -> Message:
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "code": "m.no_olm",
        "sender_key": key,
        "from_device": "D",
        **more,
    }
    said = {name: value for name, value in content.items() if value is not None}
    return Message("@s:hs", WITHHELD, said, seen)


def key_request(action: str = "request", **more: Any) -> Message:
    content = {"action": action, "requesting_device_id": "D", "request_id": "1"}
    return Message("@s:hs", KEY_REQUEST, {**content, **more})


def verification(kind: str = VERIFICATION_REQUEST, **more: Any) -> Message:
    content = {"transaction_id": "1", "from_device": "D", **more}
    return Message("@s:hs", kind, content)


def stale(message: Message) -> Message:
    return attrs.evolve(message, stale=True)


TAKEN_BACK = key_request("request_cancellation")
VERIFICATION_CANCELLED = verification(VERIFICATION_CANCEL)


def test_nobody_makes_redundant_what_others_sent() -> None:
    """Nor does the older type what is of the stable one."""
    seen = no_olm(seen=True)

    assert {} == gone(seen, attrs.evolve(seen, sender="@t:hs"))
    assert {} == gone(seen, attrs.evolve(seen, type=OLDER_WITHHELD))
    assert {} == gone(key_request(), attrs.evolve(TAKEN_BACK, type=SECRET_REQUEST))
    cancelled = attrs.evolve(VERIFICATION_CANCELLED, sender="@r:hs")
    assert {} == gone(verification(), cancelled)


def test_what_is_stale_goes_for_anything_newer() -> None:
    """But for that there has to be something; its cancellation stays."""
    assert {} == gone(stale(verification()))
    assert {1: 2} == gone(stale(verification()), more=1)
    assert {1: 2} == gone(stale(key_request()), no_olm())
    assert {1: 3} == gone(stale(verification()), VERIFICATION_CANCELLED, no_olm())
    # The newest stays, and says the same.
    assert {1: 2} == gone(stale(verification()), stale(verification()))


def test_a_row_costs_the_same_however_many_its_pair_has() -> None:
    requests = [key_request(body=str(number)) for number in range(2000)]
    walk = Backwards(len(requests))
    rows = rows_of(requests)

    for row in rows[::-1]:
        assert walk.judge(row) is None
        assert len(row.notice.rule.yields_to(row.notice)) <= 4
        assert len(row.notice.rule.takes(row.notice, seen_arriving=True)) <= 2

"""What is redundant in a mailbox, held against the table of the design.

The reference here knows nothing but the messages: it holds each row against each newer
one, as the table says it.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from synapse_withheld.config import Config
from synapse_withheld.rules.redundant import Backwards, Row, redundant
from synapse_withheld.rules.ruleset import Ruleset
from tests.harness.rules import EVERY_RULE

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
    """Return which of the messages, numbered from 1, may go."""
    return {
        number
        for number, older in enumerate(messages, 1)
        if (older.stale and number < newest_id)
        or any(makes_redundant(newer, older, merges) for newer in messages[number:])
    }


def makes_redundant(newer: Message, older: Message, merges: bool) -> bool:
    """Say so of two messages, whatever they are."""
    if newer.sender != older.sender:
        return False
    if older.type in {VERIFICATION_REQUEST, VERIFICATION_CANCEL}:
        return _of_verification(newer, older)
    if newer.type != older.type:
        return False
    if older.type in {KEY_REQUEST, SECRET_REQUEST}:
        return _of_request(newer, older)
    codes = {newer.content["code"], older.content["code"]}
    if "m.no_olm" in codes:
        return len(codes) == 1 and _of_notice(newer, older, merges)
    names = ("room_id", "session_id", "sender_key", "from_device")
    return _agree(newer, older, *names)


def _of_verification(newer: Message, older: Message) -> bool:
    if newer.type not in {VERIFICATION_REQUEST, VERIFICATION_CANCEL}:
        return False
    if not _agree(newer, older, "transaction_id"):
        return False
    if older.type == VERIFICATION_CANCEL:
        return False
    return newer.type == VERIFICATION_CANCEL or _says_the_same(newer, older)


def _of_request(newer: Message, older: Message) -> bool:
    if not _agree(newer, older, "requesting_device_id", "request_id"):
        return False
    if newer.content["action"] == "request_cancellation":
        return True
    return _says_the_same(newer, older)


def _of_notice(newer: Message, older: Message, merges: bool) -> bool:
    if not _agree(newer, older, "from_device"):
        return False
    scopes = [
        (each.content.get("room_id"), each.content.get("session_id"))
        for each in (older, newer)
    ]
    unscoped = [scope == (None, None) for scope in scopes]
    if not merges and scopes[0] != scopes[1]:
        return False
    if unscoped == [True, False]:
        return False
    if _agree(newer, older, "sender_key"):
        return True
    return "from_device" in older.content and newer.seen


def _says_the_same(newer: Message, older: Message) -> bool:
    contents = [
        {k: v for k, v in each.content.items() if k != "org.matrix.msgid"}
        for each in (newer, older)
    ]
    return contents[0] == contents[1]


def _agree(newer: Message, older: Message, *names: str) -> bool:
    return all(newer.content.get(name) == older.content.get(name) for name in names)


# What is asked.


def rows_of(messages: list[Message], *, merges: bool = True) -> list[Row]:
    """Return the rows of a mailbox, numbered from 1."""
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
    """Never that others go."""
    rows = rows_of(messages, merges=merges)
    everything = {older for older, _ in redundant(rows, len(rows))}
    for most in range(4):
        walk = Backwards(len(rows), most)
        found = {row.stream_id for row in rows[::-1] if walk.judge(row) is not None}
        assert found <= everything


def test_slots_of_all_that_was_seen_are_counted_together() -> None:
    """However few the last one took."""
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


# Each line of the table by itself.


def no_olm(key: str = "key1", *, seen: bool = False, **more: Any) -> Message:
    """Return a notice that there is no Olm session."""
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "code": "m.no_olm",
        "sender_key": key,
        "from_device": "D",
        **more,
    }
    said = {name: value for name, value in content.items() if value is not None}
    return Message("@s:hs", WITHHELD, said, seen)


def session(code: str, **more: Any) -> Message:
    """Return a message about one session."""
    return no_olm(code=code, **{"room_id": "!a", "session_id": "1", **more})


def key_request(action: str = "request", **more: Any) -> Message:
    """Return a request for a key, or its cancellation."""
    content = {"action": action, "requesting_device_id": "D", "request_id": "1"}
    return Message("@s:hs", KEY_REQUEST, {**content, **more})


def verification(kind: str = VERIFICATION_REQUEST, **more: Any) -> Message:
    """Return a request to verify, or its cancellation."""
    content = {"transaction_id": "1", "from_device": "D", **more}
    return Message("@s:hs", kind, content)


def stale(message: Message) -> Message:
    """Return a message that no client heeds any more."""
    return attrs.evolve(message, stale=True)


A: dict[str, Any] = {"room_id": "!a"}
B: dict[str, Any] = {"room_id": "!b"}
TAKEN_BACK = key_request("request_cancellation")
VERIFICATION_CANCELLED = verification(VERIFICATION_CANCEL)


@pytest.mark.parametrize(
    ("older", "newer", "merged", "apart"),
    [
        (no_olm(), no_olm(), True, True),
        (no_olm(reason="a"), no_olm(reason="b"), True, True),
        (no_olm(**A), no_olm(**A), True, True),
        (no_olm(**A), no_olm(**B), True, False),
        (no_olm(**A), no_olm(), True, False),
        (no_olm(), no_olm(**A), False, False),
        (no_olm(), no_olm(seen=True, **A), False, False),
        (no_olm(), no_olm("key2"), False, False),
        (no_olm(), no_olm("key2", seen=True), True, True),
        (no_olm(seen=True), no_olm("key2"), False, False),
        (no_olm(**A), no_olm("key2", seen=True, **A), True, True),
        (no_olm(**A), no_olm("key2", seen=True, **B), True, False),
        (no_olm(**A), no_olm("key2", seen=True), True, False),
        (no_olm(**A), no_olm("key2"), False, False),
        (no_olm(), no_olm("key2", seen=True, **A), False, False),
        (no_olm(from_device=None), no_olm(from_device=None), True, True),
        (
            no_olm(from_device=None),
            no_olm("key2", seen=True, from_device=None),
            False,
            False,
        ),
        (no_olm(from_device=None), no_olm(seen=True), False, False),
    ],
)
def test_of_two_notices(
    older: Message, newer: Message, merged: bool, apart: bool
) -> None:
    """With scopes merged, and with each by itself."""
    assert ({1: 2} if merged else {}) == gone(older, newer)
    assert ({1: 2} if apart else {}) == gone(older, newer, merges=False)


@pytest.mark.parametrize(
    ("older", "newer", "goes"),
    [
        (session("m.unverified"), session("m.unverified"), True),
        (session("m.unverified"), session("m.blacklisted"), True),
        (session("m.unverified"), session("org.example"), True),
        (session("m.unverified"), session("m.unverified", session_id="2"), False),
        (session("m.unverified"), session("m.unverified", room_id="!b"), False),
        (session("m.unverified"), session("m.unverified", sender_key="k"), False),
        (session("m.unverified"), no_olm(seen=True), False),
        (no_olm(room_id="!a", session_id="1"), session("m.unverified"), False),
        (key_request(), key_request(), True),
        (key_request(**{"org.matrix.msgid": "1"}), key_request(), True),
        (key_request(), key_request(body={}), False),
        (key_request(), TAKEN_BACK, True),
        (key_request(), key_request("request_cancellation", request_id="2"), False),
        (TAKEN_BACK, TAKEN_BACK, True),
        (TAKEN_BACK, key_request("request_cancellation", reason="x"), True),
        (TAKEN_BACK, key_request(), False),
        (verification(), verification(), True),
        (verification(**{"org.matrix.msgid": "1"}), verification(), True),
        (verification(timestamp=1), verification(timestamp=2), False),
        (verification(), VERIFICATION_CANCELLED, True),
        (verification(transaction_id="2"), VERIFICATION_CANCELLED, False),
        (VERIFICATION_CANCELLED, VERIFICATION_CANCELLED, False),
        (VERIFICATION_CANCELLED, verification(), False),
    ],
)
def test_of_two_others(older: Message, newer: Message, goes: bool) -> None:
    """Whether the newer one was seen arriving or not."""
    assert ({1: 2} if goes else {}) == gone(older, newer)
    seen = attrs.evolve(newer, seen=True)
    assert ({1: 2} if goes else {}) == gone(older, seen)


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


def test_a_row_goes_for_one_that_stays() -> None:
    """Not for one that goes itself, perhaps in a statement before."""
    assert {1: 3, 2: 3} == gone(no_olm(**A), no_olm(**A), no_olm())
    # The second was seen arriving and proves that the first is old; the third, which
    # says the same as the second, does not.
    found = gone(no_olm(), no_olm("key2", seen=True), no_olm("key2"))
    assert {1: 3, 2: 3} == found


def test_two_keys_that_were_found_stay_until_one_is_seen_arriving() -> None:
    """Which takes all of them."""
    found = [no_olm("key1"), no_olm("key2")]

    assert {} == gone(*found)
    assert {1: 3, 2: 3} == gone(*found, no_olm("key3", seen=True))
    assert {1: 3} == gone(*found, no_olm("key1"))
    # Neither says less than the one about a room.
    assert {} == gone(*found, no_olm("key3", seen=True, **A))


def test_requested_and_cancelled_over_and_over_leaves_the_last_of_each() -> None:
    """Of verifications every cancellation stays."""
    requests = [key_request(), TAKEN_BACK, key_request(), TAKEN_BACK, key_request()]
    assert {1: 4, 2: 4, 3: 4} == gone(*requests)

    verifications = [verification(), VERIFICATION_CANCELLED] * 2
    assert {1: 4, 3: 4} == gone(*verifications)


def test_a_row_costs_the_same_however_many_its_pair_has() -> None:
    """It looks at a few slots."""
    requests = [key_request(body=str(number)) for number in range(2000)]
    walk = Backwards(len(requests))
    rows = rows_of(requests)

    for row in rows[::-1]:
        assert walk.judge(row) is None
        assert len(row.notice.rule.yields_to(row.notice)) <= 4
        assert len(row.notice.rule.takes(row.notice, seen_arriving=True)) <= 2

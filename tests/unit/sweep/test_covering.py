"""What a text in a mailbox is taken for, and which of equal ones stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.config import Config
from synapse_withheld.database.sql import MOST_OF_ROW
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Staleness
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep import covering
from synapse_withheld.sweep.covering import Covering, Found
from tests.harness.backlog import notice, text_of
from tests.harness.rules import EVERY_RULE
from tests.unit.rules.test_redundant import MESSAGES, Message

R = ("@r:hs", "R")
RULES = Ruleset.of(Config(rules=EVERY_RULE))


def found(walk: Covering, *texts: str | None, now_ts: int = 0) -> list[Found]:
    """Return what is found in a mailbox with these texts, the newest first."""
    rows = [walk.seen(*R, *each) for each in enumerate(texts, 1)]
    return list(walk.judge(rows[::-1], Staleness(now_ts)))


def stay(*texts: str | None) -> list[int]:
    """Return which of the rows are not redundant, the oldest first."""
    told = found(Covering(RULES.telling_later()), *texts)
    gone = {each.redundant.stream_id for each in told if each.redundant}
    return [number for number in range(1, len(texts) + 1) if number not in gone]


FITS = notice(reason="x" * (MOST_OF_ROW - len(notice(reason=""))))
ESCAPED = notice().replace("m.room_key", "m.room\\u005fkey")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        # What the statement leaves out, and what is no message.
        ([None, notice(), notice()], [1, 3]),
        ([notice(), '{"m.room_key.withheld":', notice()], [2, 3]),
        # What is too long for a notice is none, as a first reading has it.
        ([FITS, FITS], [2]),
        ([FITS.replace("x", "xx", 1)] * 2, [1, 2]),
        # Only texts with a mark are read; Synapse escapes no letter.
        ([ESCAPED, ESCAPED], [1, 2]),
    ],
)
def test_only_what_may_be_a_notice_is_read(
    texts: list[str | None], expected: list[int]
) -> None:
    """What is none makes nothing redundant."""
    assert expected == stay(*texts)


STALE = text_of(
    "@s:hs",
    "m.key.verification.request",
    {"transaction_id": "1", "from_device": "S", "timestamp": 0},
)


@pytest.mark.parametrize("older", [notice(room_id="!room:hs"), STALE])
def test_equal_texts_go_for_what_stays(older: str) -> None:
    """Not for one that goes itself, maybe in a statement before."""
    walk = Covering(RULES.telling_later())
    told = found(walk, older, older, notice(), now_ts=2**50)
    newer = [None, Superseded(R, 2, 3), Superseded(R, 1, 3)]
    assert newer == [each.redundant for each in told]


def test_the_texts_that_are_remembered_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond, each is read again, to the same end."""
    monkeypatch.setattr(covering, "MOST_TEXTS", 1)
    walk = Covering(RULES.telling_later())
    told = found(walk, *(notice(device) for device in "abab"))
    assert [None, None, (R, 2, 4), (R, 1, 3)] == [each.redundant for each in told]
    assert 1 == len(walk._known)


@pytest.mark.parametrize("between", [*"ab", "}", '\\"', "\\\\", "é"])
def test_a_text_is_read_once_however_clients_follow_it(
    monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    """Most copies differ in nothing else."""
    read = []
    recognise = Ruleset.recognise

    def note(rules: Ruleset, message: dict[str, Any]) -> Notice | None:
        read.append(message)
        return recognise(rules, message)

    monkeypatch.setattr(Ruleset, "recognise", note)
    before, at, after = notice().partition('"sender_key"')
    traced = [f'"org.matrix.msgid":"{n}{between}{n}",' for n in range(9)]

    assert [9] == stay(*(before + each + at + after for each in traced))
    # Of what has a quotation mark in it, nothing is left out.
    assert (9 if '"' in between else 1) == len(read)


TRACED = st.sampled_from(["a", '"', "\\", '\\"', ",", "{", "é", ',"sender_key":"x"'])


@given(st.lists(st.tuples(MESSAGES, MESSAGES, TRACED, st.booleans()), max_size=6))
def test_a_text_is_recognised_as_if_it_were_the_only_one(
    pairs: list[tuple[Message, Message, str, bool]],
) -> None:
    """Wherever in it there is what clients follow it by, and whatever else."""
    walk = Covering(RULES.telling_later())
    for message, inside, tracing, ascii_only in pairs:
        traces = {"org.matrix.msgid": tracing}
        content = {**message.content, **traces, "body": {**inside.content, **traces}}
        nested = {"x": [inside.type, traces], "content": content, **traces}
        whole = {**nested, "sender": message.sender, "type": message.type}
        for each in (whole, {**whole, "content": [content]}):
            text = json.dumps(each, separators=(",", ":"), ensure_ascii=ascii_only)
            expected, told = RULES.recognise(each), walk.recognise(text)
            assert (expected is None) == (told is None)
            if expected is not None and told is not None:
                assert expected.pair_of_rule == told.pair_of_rule
                assert expected[3:] == told[3:]
                # Of requests, the same content has the same key.
                again = walk.recognise(text)
                assert again is not None
                assert again.key == told.key
                if expected.rule.about_keys:
                    assert expected.key == told.key

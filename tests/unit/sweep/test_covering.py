"""Which rows of a mailbox are redundant, whatever is in them."""

from __future__ import annotations

from typing import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.config import Config
from synapse_withheld.database.sql import MOST_OF_ROW
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.redundant import Backwards, Row, Staleness
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep import covering
from synapse_withheld.sweep.covering import Covering, Found
from tests.harness.databases.backlog import notice, other, text_of
from tests.harness.rules import EVERY_RULE
from tests.unit.rules.test_redundant import MESSAGES, Message, reference

R = ("@r:hs", "R")
RULES = Ruleset.of(Config(rules=EVERY_RULE))


def found(*texts: str | None, now_ts: int = 0) -> list[Found]:
    """Return what is found in a mailbox with these texts, the oldest first."""
    return judged(Covering(RULES), texts, now_ts)


def judged(walk: Covering, texts: Sequence[str | None], now_ts: int = 0) -> list[Found]:
    rows = [(*R, number, text) for number, text in enumerate(texts, 1)][::-1]
    walk.read(rows)
    return list(walk.judge(rows, Staleness(now_ts)))


def stay(*texts: str | None) -> list[int]:
    """Return which of the rows are not redundant, the oldest first."""
    gone = {each.redundant.stream_id for each in found(*texts) if each.redundant}
    return [number for number in range(1, len(texts) + 1) if number not in gone]


def verification(transaction: str, kind: str = "request", **more: object) -> str:
    """Return the text of a request to verify, or of what takes it back."""
    content = {"transaction_id": transaction, "from_device": "S", **more}
    return text_of("@s:hs", f"m.key.verification.{kind}", content)


def test_what_the_statement_leaves_out_makes_nothing_redundant() -> None:
    assert [1, 3] == stay(None, notice(), notice())


def test_what_is_too_long_for_a_notice_is_none() -> None:
    """As a first reading has it; what just fits is one."""
    fits = notice(reason="x" * (MOST_OF_ROW - len(notice(reason=""))))
    longer = notice(reason="x" * (len(fits) - len(notice(reason="")) + 1))

    assert (MOST_OF_ROW, [2]) == (len(fits), stay(fits, fits))
    assert [1, 2] == stay(longer, longer)


def test_each_mailbox_is_judged_by_itself() -> None:
    """Of another user, or another device, with the same texts."""
    mailboxes = [R, ("@r:hs", "Q"), ("@q:hs", "R")]
    rows = [(*each, number, notice()) for each in mailboxes for number in (3, 2, 1)]
    walk = Covering(RULES)
    walk.read(rows)
    told = [each.redundant for each in walk.judge(rows, Staleness())]

    newer = [(each, [None, (2, 3), (1, 3)]) for each in mailboxes]
    expected = [row and Superseded(each, *row) for each, rows in newer for row in rows]
    assert expected == told


SCOPED = notice(room_id="!room:hs")
STALE = verification("1", timestamp=0)


@pytest.mark.parametrize("older", [SCOPED, STALE])
def test_equal_texts_go_for_what_stays(older: str) -> None:
    """Not for one that goes itself, maybe in a statement before."""
    told = found(older, older, notice(), now_ts=2**50)
    newer = [None, Superseded(R, 2, 3), Superseded(R, 1, 3)]

    assert newer == [each.redundant for each in told]


def test_the_texts_of_a_mailbox_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, each row is judged, to the same end."""
    texts = [*[verification("1")] * 2, *[verification("2")] * 2]
    expected = found(*texts)
    monkeypatch.setattr(covering, "MOST_TEXTS", 1)
    walk = Covering(RULES)

    assert expected == judged(walk, texts)
    assert 1 == len(walk._newer_than)


def test_a_text_is_judged_twice_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same mailbox, however many rows have it: most have one of their own."""
    judged = []
    judge = Backwards.judge

    def note(walk: Backwards, row: Row) -> int | None:
        judged.append(row.stream_id)
        return judge(walk, row)

    monkeypatch.setattr(Backwards, "judge", note)

    assert [9] == stay(*[notice()] * 9)
    assert [9, 8] == judged


@given(st.lists(MESSAGES, max_size=20), st.integers(0, 20))
def test_of_every_rule_what_the_table_says_is_found(
    messages: list[Message], at: int
) -> None:
    """With texts remembered, and whatever else is between them."""
    found_there = [attrs.evolve(each, seen=False, stale=False) for each in messages]
    texts = [text_of(each.sender, each.type, each.content) for each in messages]
    expected = reference(found_there, len(messages), merges=True)

    assert expected == {*range(1, len(texts) + 1)} - {*stay(*texts)}
    # Rows that are no notices make none redundant.
    count = len(stay(*texts[:at], other(), *texts[at:]))
    assert len(texts) + 1 - len(expected) == count

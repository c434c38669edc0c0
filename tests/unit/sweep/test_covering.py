"""Which rows of a mailbox are redundant, whatever is in them."""

from __future__ import annotations

import pytest

from synapse_withheld.config import Config
from synapse_withheld.database.sql import MOST_OF_ROW
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.staleness import Staleness
from synapse_withheld.sweep import covering
from synapse_withheld.sweep.covering import Covering, Found
from tests.harness.databases.backlog import notice, text_of
from tests.harness.rules import EVERY_RULE

R = ("@r:hs", "R")
RULES = Ruleset.of(Config(rules=EVERY_RULE))
KEY_REQUEST = "m.room_key_request"


def found(*texts: str | None) -> list[Found]:
    """Return what is found in a mailbox with these texts, the oldest first."""
    walk = Covering(RULES, spoofs_possible=False)
    rows = [(*R, number, text) for number, text in enumerate(texts, 1)][::-1]
    return list(walk.judge(rows, walk.read(rows), Staleness()))


def stay(*texts: str | None) -> list[int]:
    """Return which of the rows are not redundant, the oldest first."""
    gone = {each.redundant.stream_id for each in found(*texts) if each.redundant}
    return [number for number in range(1, len(texts) + 1) if number not in gone]


def request(**more: object) -> str:
    """Return the text of a key request."""
    content = {"action": "request", "requesting_device_id": "S", "request_id": "1"}
    return text_of("@s:hs", KEY_REQUEST, {**content, **more})


def verification(transaction: str) -> str:
    """Return the text of a request to verify."""
    content = {"transaction_id": transaction, "from_device": "S"}
    return text_of("@s:hs", "m.key.verification.request", content)


def test_what_was_not_read_is_no_notice() -> None:
    """The statement leaves out what is too long."""
    assert [1, 3] == stay(None, notice(), notice())
    assert 2 == len(found(None, notice(), notice()))


def test_what_is_too_long_for_a_notice_is_none() -> None:
    """As a first reading has it; what just fits is one."""
    fits = notice(reason="x" * (MOST_OF_ROW - len(notice(reason=""))))
    longer = notice(reason="x" * (len(fits) - len(notice(reason="")) + 1))

    assert (MOST_OF_ROW, [2]) == (len(fits), stay(fits, fits))
    assert [1, 2] == stay(longer, longer)


def test_a_request_for_something_else_covers_none() -> None:
    """Though it has the same ID; one with the same content does."""
    other, one = request(body={"a": 1, "b": 2}), request(body={"a": 1})

    assert [1, 2] == stay(other, one)
    assert [2] == stay(other, request(body={"b": 2, "a": 1}))


def test_of_equal_texts_the_newest_stays() -> None:
    """Whatever a rule says of two that differ."""
    assert [2, 3] == stay(verification("1"), verification("1"), verification("2"))


def test_equal_texts_are_covered_by_what_stays() -> None:
    """Not by one that goes itself, maybe in a statement before."""
    scoped = notice(room_id="!room:hs")
    covers = [each.redundant for each in found(scoped, scoped, notice())]

    assert [None, Superseded(R, 2, 3), Superseded(R, 1, 3)] == covers


def test_the_texts_of_a_mailbox_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, a rule is asked about each row."""
    monkeypatch.setattr(covering, "MOST_TEXTS", 1)

    assert [1, 2, 4] == stay(*[verification("1")] * 2, *[verification("2")] * 2)


def test_sizes_are_bytes() -> None:
    """Not characters."""
    text = notice(reason="x").replace('"x"', '"\N{SNOWMAN}"')

    assert [len(text.encode())] == [each.size for each in found(text)]
    assert len(text.encode()) == len(text) + 2

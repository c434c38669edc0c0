"""When a new notice is believed to be a duplicate of a queued one, and of which."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.memory import Memory
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.naming import (
    R1,
    R2,
    SENDER,
    cancellation,
    learn,
    memory,
    no_olm,
    records,
    request,
    store,
    withheld,
)


def why(of: Memory, notice: Notice, now_s: float = 0.0) -> Decision:
    """Return what a notice for the first mailbox is believed to be."""
    decided, record = of.believe(R1, notice, now_s)
    assert (record is not None) == (decided is decision.DUPLICATE)
    return decided


def test_what_was_seen_being_stored_is_believed() -> None:
    """The next one that says the same is a duplicate of exactly that row."""
    of = memory()
    store(of, no_olm(), 5)

    assert (decision.DUPLICATE, records(of)[0]) == of.believe(R1, no_olm(), 0.0)


def test_a_mailbox_that_is_not_learned_yet_is_believed_too() -> None:
    """Learning only finds older copies."""
    of = memory()
    of.open(R2, 0)
    store(of, no_olm(), 5, R2)

    assert of.believe(R2, no_olm(), 0.0).record is not None


@pytest.mark.parametrize(
    ("queued", "notice", "expected"),
    [
        (no_olm(), no_olm(device="B"), decision.FIRST),
        (no_olm(), no_olm("k2"), decision.NEW_KEY),
        (no_olm(), no_olm(variant="scoped"), decision.DUPLICATE),
        (no_olm(variant="scoped"), no_olm(variant="scoped"), decision.DUPLICATE),
        (no_olm(variant="scoped"), no_olm(), decision.SCOPE),
        (no_olm(), no_olm("k2", "scoped"), decision.NOT_REPEATED),
        (withheld(), withheld(), decision.DUPLICATE),
        (withheld(), withheld(code="m.blacklisted"), decision.NEW_CODE),
        (withheld(), no_olm(), decision.FIRST),
        (request(), request(), decision.REPEATED),
        (request(), request(content="other"), decision.NOT_REPEATED),
        (request(), cancellation(), decision.CANCELLED),
        (cancellation(), request(), decision.NOT_REPEATED),
        (cancellation(), cancellation(), decision.REPEATED),
    ],
)
def test_what_is_queued_says_as_much_or_not(
    queued: Notice, notice: Notice, expected: Decision
) -> None:
    """Only what says nothing new is a duplicate."""
    of = memory()
    store(of, queued, 5)

    assert expected is why(of, notice)


def test_what_was_found_in_the_database_is_not_believed() -> None:
    """Nobody knows what passed since it was stored."""
    of = memory()
    learn(of, (5, no_olm()))

    assert decision.REPEATED is why(of, no_olm())


def test_of_several_rows_that_say_it_the_newest_is_believed() -> None:
    """Here one that names nothing and one that names a session."""
    of = memory()
    store(of, no_olm(), 5)
    store(of, no_olm(variant="scoped"), 6)

    whole, scoped = records(of)
    assert whole is of.believe(R1, no_olm(), 0.0).record
    assert scoped is of.believe(R1, no_olm(variant="scoped"), 0.0).record


def test_a_newer_row_with_another_key_has_the_last_word() -> None:
    """However it came there: the older one does not say what a reader sees last."""
    of = memory()
    store(of, no_olm(), 5)
    learn(of, (7, no_olm("k2")))

    assert [5, 7] == [each.stream_id for each in records(of)]
    assert decision.NEW_KEY is why(of, no_olm())


@pytest.mark.parametrize(
    "other", [no_olm("k2"), no_olm(variant="scoped"), no_olm("k2", "scoped")]
)
def test_nothing_is_believed_while_something_else_of_the_pair_is_in_flight(
    other: Notice,
) -> None:
    """It may be stored last."""
    of = memory()
    store(of, no_olm(), 5)
    storing = of.begin(R1, other, SENDER, 0, 0.0)
    assert decision.NOT_REPEATED is why(of, no_olm())
    of.abandon(storing)

    assert decision.DUPLICATE is why(of, no_olm())


def test_another_code_in_flight_is_something_else() -> None:
    """The newest code of a session counts."""
    of = memory()
    store(of, withheld(), 5)
    of.begin(R1, withheld(code="m.blacklisted"), SENDER, 0, 0.0)

    assert decision.NOT_REPEATED is why(of, withheld())


def test_equal_copies_in_flight_are_harmless() -> None:
    """Counting them would make every storm feed itself."""
    of = memory()
    store(of, no_olm(), 5)
    for _ in range(3):
        of.begin(R1, no_olm(), SENDER, 0, 0.0)

    assert decision.DUPLICATE is why(of, no_olm())


def test_what_is_in_flight_elsewhere_is_harmless() -> None:
    """For another device, from another sender, of another pair."""
    of = memory()
    store(of, no_olm(), 5)
    of.begin(R2, no_olm("k2"), SENDER, 0, 0.0)
    of.begin(R1, no_olm("k2", sender="@t:hs"), "@t:hs", 0, 0.0)
    of.begin(R1, no_olm("k2", device="B"), SENDER, 0, 0.0)

    assert decision.DUPLICATE is why(of, no_olm())


def test_what_is_in_flight_is_noted_though_its_mailbox_is_not_remembered() -> None:
    """It may be stored into a mailbox that is opened meanwhile."""
    of = memory()
    of.begin(R2, no_olm("k2"), SENDER, 0, 0.0)
    of.open(R2, 0)
    store(of, no_olm(), 5, R2)

    assert decision.NOT_REPEATED is of.believe(R2, no_olm(), 0.0).decision


def test_first_copies_at_once_are_all_first() -> None:
    """Nothing is queued yet."""
    of = memory()
    of.begin(R1, no_olm(), SENDER, 0, 0.0)

    assert decision.FIRST is why(of, no_olm())


def test_what_may_have_been_handed_out_is_not_believed() -> None:
    """Where all reads are seen: one that begins is enough."""
    of = memory(sees_reads=True)
    store(of, no_olm(), 5)
    of.note_read(*R1, 4)
    assert decision.DUPLICATE is why(of, no_olm())
    of.note_read(*R1, 5)
    of.note_read(*R1, 3)

    assert decision.READ is why(of, no_olm())


def test_a_mailbox_begins_where_its_device_may_have_read_to() -> None:
    """It is opened before the row is written."""
    of = memory(sees_reads=True)
    of.open(R2, 7)
    store(of, no_olm(), 7, R2)
    assert decision.READ is of.believe(R2, no_olm(), 0.0).decision
    store(of, no_olm(), 8, R2)

    assert decision.DUPLICATE is of.believe(R2, no_olm(), 0.0).decision


def test_to_open_a_mailbox_again_keeps_what_is_known_of_it() -> None:
    """It is the same one."""
    of = memory(sees_reads=True)
    mailbox = of.open(R1, 99)

    assert (0, True) == (mailbox.handed_out, mailbox.learned)


def test_reads_do_not_count_where_nobody_sees_them_all() -> None:
    """Queued counts as unread then."""
    of = memory(sees_reads=False)
    store(of, no_olm(), 5)
    of.note_read(*R1, 9)

    assert decision.DUPLICATE is why(of, no_olm())


def test_what_was_read_stands_as_long_as_its_hold() -> None:
    """From when it was last known to be queued; then only if it was not read."""
    of = memory(sees_reads=True, hold_s=60.0)
    store(of, no_olm(), 5)
    of.confirmed(records(of)[0], 10.0)
    of.confirmed(records(of)[0], 8.0)
    assert decision.DUPLICATE is why(of, no_olm(), 71.0)
    of.note_read(*R1, 9)

    assert decision.DUPLICATE is why(of, no_olm(), 70.0)
    assert decision.READ is why(of, no_olm(), 71.0)


def test_only_what_is_told_once_per_session_has_a_hold() -> None:
    """Other withheld messages may be told again once they were read."""
    of = memory(sees_reads=True, hold_s=60.0)
    store(of, withheld(), 5)
    of.note_read(*R1, 9)

    assert decision.READ is why(of, withheld())


def test_a_row_that_is_gone_is_believed_no_more() -> None:
    """It is dropped once; its mailbox is still known."""
    of = memory()
    store(of, no_olm(), 5)
    (record,) = records(of)
    of.drop(R1, record)
    of.drop(R1, record)
    of.drop(R2, record)

    assert decision.FIRST is why(of, no_olm())
    mailbox = of.get(R1)
    assert mailbox is not None
    assert mailbox.learned
    assert 0 == of.pairs

"""What a new notice is believed to be, and what is remembered of it."""

from __future__ import annotations

import pytest

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import VerificationRequests
from tests.unit.memory.known import (
    OTHER,
    R1,
    R2,
    SENDER,
    Known,
    cancellation,
    no_olm,
    pairs,
    request,
    scoped,
    withheld,
)

FOUND: MailboxKey = (R1[0], "found")
VERIFY = VerificationRequests()
ENDED = cancellation(rule=VERIFY)


@pytest.mark.parametrize(
    ("queued", "notice", "expected", "goes"),
    [
        (no_olm(), no_olm(), decision.DUPLICATE, True),
        (no_olm(), no_olm(device="B"), decision.FIRST, False),
        (no_olm(), no_olm("k2"), decision.NEW_KEY, True),
        (no_olm(), scoped(), decision.DUPLICATE, False),
        (scoped(), scoped(), decision.DUPLICATE, True),
        (scoped(), no_olm(), decision.SCOPE, True),
        (scoped(), no_olm("k2"), decision.NEW_KEY, True),
        (scoped(), scoped("k2"), decision.NEW_KEY, True),
        (no_olm(), scoped("k2"), decision.NOT_REPEATED, False),
        (withheld(), withheld(), decision.DUPLICATE, True),
        (withheld(), withheld(code="m.blacklisted"), decision.NEW_CODE, True),
        (withheld(), no_olm(), decision.FIRST, False),
        (request(), request(), decision.REPEATED, True),
        (request(), request("other"), decision.NOT_REPEATED, False),
        (request(), cancellation(), decision.CANCELLED, True),
        (cancellation(), request(), decision.NOT_REPEATED, False),
        (cancellation(), cancellation(), decision.REPEATED, True),
        # A client may show the reason of each.
        (request(rule=VERIFY), ENDED, decision.CANCELLED, True),
        (ENDED, ENDED, decision.NOT_REPEATED, False),
    ],
)
def test_what_is_queued_says_as_much_or_not_and_goes_or_stays(
    queued: Notice, notice: Notice, expected: Decision, goes: bool
) -> None:
    """Where it was seen being stored, also where a mailbox is not learned yet.

    What was found in the database stands for nothing: nobody knows what passed since,
    nor whether its sender sent it.
    """
    of = Known()
    for key in (R1, R2, FOUND):
        of.open(key, 0)
        if key is FOUND:
            of.found((5, queued), key=key)
            if expected is decision.DUPLICATE:
                expected = decision.REPEATED
        else:
            of.stored(queued, 5, key)
        assert expected is of.why(notice, key=key)

        assert ([(5, 6)] if goes else []) == of.stored(notice, 6, key)
        assert ([6] if goes else [5, 6]) == of.rows(key)


def test_the_newest_row_has_the_last_word() -> None:
    """However it came there: an older one does not say what a reader sees last."""
    of = Known()
    of.stored(no_olm(), 5)
    of.stored(scoped(), 6)
    assert of.records() == [
        of.believe(R1, notice, 0.0).record for notice in (no_olm(), scoped())
    ]
    of.found((7, no_olm("k2")))

    assert [5, 6, 7] == of.rows()
    assert decision.NEW_KEY is of.why()
    assert decision.REPEATED is of.why(scoped())


@pytest.mark.parametrize(
    ("queued", "other"),
    [(no_olm(), no_olm("k2")), (withheld(), withheld(code="m.blacklisted"))],
)
def test_nothing_is_believed_while_something_else_of_the_pair_is_in_flight(
    queued: Notice, other: Notice
) -> None:
    """It may be stored last.

    Equal copies and other pairs are harmless: counting copies would make every storm
    feed itself.
    """
    of = Known()
    of.begun(queued)
    assert decision.FIRST is of.why(queued)
    of.stored(queued, 5)
    of.begun(other, R2)
    of.begun(no_olm("k2", sender=OTHER))
    of.begun(no_olm("k2", device="B"))
    assert decision.DUPLICATE is of.why(queued)
    storing = of.begun(other)
    assert decision.NOT_REPEATED is of.why(queued)
    of.abandon(storing)

    assert decision.DUPLICATE is of.why(queued)


@pytest.mark.parametrize("sees_reads", [True, False])
def test_what_may_have_been_handed_out_is_not_believed_where_reads_are_seen(
    sees_reads: bool,
) -> None:
    """From when a read begins; what is told once for each session has a hold."""
    of = Known(sees_reads=sees_reads, hold_s=60.0)
    of.stored(no_olm(), 5)
    of.stored(withheld(), 6)
    of.note_read(*R1, 5)
    assert decision.DUPLICATE is of.why(withheld())
    of.note_read(*R1, 6)
    of.note_read(*R1, 3)
    expected = decision.READ if sees_reads else decision.DUPLICATE

    assert expected is of.why(withheld())
    assert decision.DUPLICATE is of.why(now_s=60.0)
    assert expected is of.why(now_s=60.1)


def test_a_row_that_is_gone_is_believed_no_more() -> None:
    """It is dropped once; its mailbox is still known."""
    of = Known()
    of.stored(no_olm(), 5)
    (record,) = of.records()
    for key in (R1, R1, R2):
        of.drop(key, record)

    assert decision.FIRST is of.why()
    assert (True, 0) == (of.is_learned(), of.pairs)


def test_rows_may_be_settled_in_another_order_than_they_were_stored() -> None:
    """On PostgreSQL ten threads shuffle.

    The newest stays; another is deleted, unless its row holds more.
    """
    of = Known()
    shared, early, late = (of.begun(no_olm()) for _ in range(3))
    assert [] == of.settle(late, 6)
    assert [(5, 6)] == pairs(of.settle(early, 5))
    assert [] == of.settle(shared, 4, only_one_in_row=False)
    assert [6] == of.rows()


def test_nothing_settles_into_a_mailbox_that_was_not_open_when_it_was_sorted() -> None:
    """What happened to it before is not known.

    What is believed in one that was opened meanwhile ends, and it is to be learned.
    """
    of = Known()
    nowhere, elsewhere = of.begun(no_olm(), R2), of.begun(no_olm("k2"))
    assert of.settle(nowhere, 5) is None
    assert of.peek(R2) is None
    assert decision.FIRST is of.why(key=R2)
    of.forget(R1)
    of.open(R1, 0).learned = True
    of.stored(no_olm(), 5)
    assert of.settle(elsewhere, 6) is None

    assert ([5], False) == (of.rows(), of.is_learned())
    assert decision.REARMED is of.why()


def test_what_is_found_is_remembered_beside_what_is_known() -> None:
    """With what it is redundant for.

    Of what was seen being stored, or is on its way, the memory knows more. Whose room
    it takes is told by its sender. All of a mailbox is of one object, to take less.
    """
    of = Known(who_of=lambda sender, recipient: f"{sender} to {recipient}")
    of.stored(no_olm(), 9, (R1[0], R1[1]))
    storing = of.begun(scoped())
    found = [(2, no_olm()), (3, withheld()), (4, withheld()), (5, request())]
    assert [(2, 9), (3, 4)] == of.found(*found, (9, no_olm()), (10, scoped()))
    assert ["@s:hs to @r:hs"] * 2 == [each.who for each in of.records()[:2]]
    assert [] == of.settle(storing, 10)
    assert decision.DUPLICATE is of.why()

    assert [4, 5, 9, 10] == of.rows()
    assert [False, False, True, True] == [each.seen_arriving for each in of.records()]
    assert all(each.mailbox is R1 for each in of.records())


def test_what_is_stale_goes_for_anything_newer_in_the_mailbox() -> None:
    """Also where the memory saw it being stored."""
    of = Known()
    of.stored(request("c", "2"), 5)
    rows = [Row(4, request(), stale=True), Row(5, request("c", "2"), stale=True)]
    superseded = of.learn(of.open(R1, 0), rows, 8, last=True)

    assert [Superseded(R1, 4, 8), Superseded(R1, 5, 8)] == superseded
    assert 0 == of.pairs
    # Also for what was stored since the mailbox was looked at.
    of.stored(request("other"), 9)
    assert [(4, 9)] == pairs(of.learn(of.open(R1, 0), rows[:1], 4, last=True))


def test_a_mailbox_is_learned_with_its_last_page() -> None:
    """The newest page comes first, and links to what is on older ones.

    What was read of another that was open before is ignored.
    """
    of = Known()
    before, rows = of.open(R2, 0), [Row(1, no_olm()), Row(2, no_olm())]
    of.forget(R2)
    assert [] == of.learn(before, rows, 2, last=True)
    assert of.peek(R2) is None
    of.open(R2, 0)
    assert [] == of.learn(before, rows, 2, last=True)
    assert [] == of.found((8, no_olm()), key=R2, last=False)
    assert not of.is_learned(R2)
    assert [(3, 8)] == of.found((3, no_olm()), key=R2)
    assert [] == of.found(key=R2, last=False)

    assert ([8], True) == (of.rows(R2), of.is_learned(R2))


def test_nothing_is_left_of_what_is_forgotten() -> None:
    """But what is in flight: it is lost once it is stored."""
    of = Known()
    of.open(R2, 0)
    of.open(("@q:hs", "D1"), 0)
    assert ["D1", "D2"] == of.devices_of("@r:hs")
    for _ in range(2):
        of.forget(R1)
    assert ["D2"] == of.devices_of("@r:hs")
    of.stored(no_olm(), 5, R2)
    storing = of.begun(no_olm(), R2)
    of.clear()
    assert (0, 0, []) == (len(of), of.pairs, of.devices_of("@r:hs"))
    assert 1 == of.rearm_users(R1[0], SENDER)

    assert of.settle(storing, 6) is None
    assert 0 == len(of._users)

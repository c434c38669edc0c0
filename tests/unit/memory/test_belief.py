"""What a new notice is believed to be, and what is remembered of it."""

from __future__ import annotations

import pytest

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey
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


@pytest.mark.parametrize("sees_reads", [True, False])
def test_what_may_have_been_handed_out_is_not_believed_where_reads_are_seen(
    sees_reads: bool,
) -> None:
    """From when a read begins.

    What is told once for each session is held from when it was last known to be queued.
    """
    of = Known(sees_reads=sees_reads, hold_s=60.0)
    of.stored(no_olm(), 5)
    of.stored(withheld(), 6)
    of.note_read(*R1, 5)
    assert decision.DUPLICATE is of.why(withheld())
    of.note_read(*R1, 6)
    of.note_read(*R1, 3)
    expected = decision.READ if sees_reads else decision.DUPLICATE

    assert expected is of.why(withheld())
    for now_s in (10.0, 8.0):
        of.confirmed(of.records()[0], now_s)
    assert decision.DUPLICATE is of.why(now_s=70.0)
    assert expected is of.why(now_s=70.1)


def test_a_row_that_is_gone_is_believed_no_more() -> None:
    """It is dropped once; its mailbox is still known."""
    of = Known()
    of.stored(no_olm(), 5)
    (record,) = of.records()
    for _ in range(2):
        assert decision.NOT_QUEUED is of.gone(record)

    assert (decision.FIRST, True, 0) == (of.why(), of.is_learned(), of.pairs)


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
    assert (["D2"], decision.FIRST) == (of.devices_of("@r:hs"), of.why())
    of.stored(no_olm(), 5, R2)
    storing = of.begun(no_olm(), R2)
    of.clear()
    assert (0, 0, []) == (len(of), of.pairs, of.devices_of("@r:hs"))
    assert 1 == of.rearm_users(R1[0], SENDER)

    assert of.settle(storing, 6) is None
    assert 0 == len(of._users)


# What Olm messages re-arm is told in `tests/unit/delivery`.


def test_no_number_is_kept_of_who_has_nothing_there() -> None:
    """Whoever sends Olm messages fills no memory with them.

    Requests are about no Olm sessions: their contents are no keys.
    """
    of = Known()
    of.stored(no_olm(), 5)
    of.stored(request("other"), 6)
    of.begun(no_olm("k2"), R2)
    of.begun(request("other"), R2)
    of.rearm_device(R1, SENDER, "other")
    of.rearm_device(R2, SENDER, "other")
    of.rearm_device(R1, OTHER, "k1")
    of.rearm_device(("@q:hs", "D"), SENDER, "k1")
    of.rearm_users("@q:hs", SENDER)
    of.rearm_users(R1[0], OTHER)

    assert 0 == of._number
    assert not [*of._users._numbers, *of._in_flight.ends._numbers]
    assert of.open(R1, 0)._senders[SENDER]._rearmed is None


def test_a_number_goes_with_the_last_that_it_rearms() -> None:
    """Of the two devices or users, whatever else the sender has.

    None begins again: what was sorted before it stays re-armed.
    """
    of = Known()
    of.stored(no_olm(), 5)
    of.stored(no_olm("k2", device="B"), 6)
    early, other = of.begun(no_olm()), of.begun(no_olm("k2"), R2)
    assert [2, 1, 0, 1] == [
        of.rearm_device(mailbox, SENDER, key)
        for mailbox in (R1, R2)
        for key in ("k1", "k2")
    ]
    of.abandon(other)
    of.gone(of.records()[0])
    assert {"k2"} == (of.open(R1, 0)._senders[SENDER]._rearmed or {}).keys()
    assert [(R1, SENDER, "k1")] == [*of._in_flight.ends._numbers]
    of.rearm_users(R1[0], SENDER)
    of.gone(of.records()[0])
    of.settle(early, 7)
    assert decision.REARMED is of.why()
    of.forget(R1)

    assert not [*of._users._numbers, *of._in_flight.ends._numbers]
    assert 0 == len(of._users) == len(list(of._in_flight))


def test_numbers_only_rise() -> None:
    """Whoever they are of: one that began again would pass for an old one."""
    of = Known()
    of.stored(no_olm(), 5)
    for _ in range(3):
        of.rearm_device(R1, SENDER, "k1")
    of.stored(no_olm(), 6)
    of.begun(no_olm(sender=OTHER))
    of.rearm_users(R1[0], OTHER)
    assert decision.DUPLICATE is of.why()
    of.rearm_device(R1, SENDER, "k1")

    assert decision.REARMED is of.why()

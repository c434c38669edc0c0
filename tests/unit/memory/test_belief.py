"""What a new notice is believed to be, and what is remembered of it."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.memory import Memory
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import VerificationRequests
from tests.unit.memory.naming import (
    OTHER,
    R1,
    R2,
    SENDER,
    begin,
    cancellation,
    is_learned,
    learn,
    memory,
    no_olm,
    pairs,
    records,
    request,
    scoped,
    store,
    stream_ids,
    withheld,
)

FOUND: MailboxKey = (R1[0], "found")


def why(
    of: Memory, notice: Notice | None = None, now_s: float = 0.0, key: MailboxKey = R1
) -> Decision:
    decided, record = of.believe(key, notice or no_olm(), now_s)
    assert (record is not None) == (decided is decision.DUPLICATE)
    return decided


VERIFY = VerificationRequests()


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
        (request(rule=VERIFY), cancellation(rule=VERIFY), decision.CANCELLED, True),
        (
            cancellation(rule=VERIFY),
            cancellation(rule=VERIFY),
            decision.NOT_REPEATED,
            False,
        ),
    ],
)
def test_what_is_queued_says_as_much_or_not_and_goes_or_stays(
    queued: Notice, notice: Notice, expected: Decision, goes: bool
) -> None:
    """Where it was seen being stored, also where a mailbox is not learned yet.

    What was found in the database stands for nothing: nobody knows what passed since,
    nor whether its sender sent it.
    """
    of = memory()
    for key in (R1, R2, FOUND):
        of.open(key, 0)
        if key is FOUND:
            learn(of, (5, queued), key=key)
            if expected is decision.DUPLICATE:
                expected = decision.REPEATED
        else:
            store(of, queued, 5, key)
        assert expected is why(of, notice, key=key)

        assert ([(5, 6)] if goes else []) == store(of, notice, 6, key)
        assert ([6] if goes else [5, 6]) == stream_ids(of, key)


def test_the_newest_row_has_the_last_word() -> None:
    """However it came there: an older one does not say what a reader sees last."""
    of = memory()
    store(of, no_olm(), 5)
    store(of, scoped(), 6)
    assert records(of) == [
        of.believe(R1, notice, 0.0).record for notice in (no_olm(), scoped())
    ]
    learn(of, (7, no_olm("k2")))

    assert [5, 6, 7] == stream_ids(of)
    assert decision.NEW_KEY is why(of)
    assert decision.REPEATED is why(of, scoped())


def test_nothing_is_believed_while_something_else_of_the_pair_is_in_flight() -> None:
    """It may be stored last.

    Equal copies and other pairs are harmless: counting copies would make every storm
    feed itself.
    """
    of = memory()
    begin(of, no_olm())
    assert decision.FIRST is why(of)
    store(of, no_olm(), 5)
    store(of, withheld(), 6)
    begin(of, no_olm("k2"), R2)
    begin(of, no_olm("k2", sender=OTHER))
    begin(of, no_olm("k2", device="B"))
    for queued, others in {
        no_olm(): [no_olm("k2"), scoped(), scoped("k2")],
        withheld(): [withheld(code="m.blacklisted")],
    }.items():
        for other in others:
            assert decision.DUPLICATE is why(of, queued)
            storing = begin(of, other)
            assert decision.NOT_REPEATED is why(of, queued)
            of.abandon(storing)


def test_what_may_have_been_handed_out_is_not_believed_where_reads_are_seen() -> None:
    """One that begins is enough, and so is one before the mailbox was opened."""
    for sees_reads, expected in ((True, decision.READ), (False, decision.DUPLICATE)):
        of = memory(sees_reads=sees_reads)
        of.open(R2, 5)
        for key in (R1, R2):
            store(of, no_olm(), 5, key)
        assert expected is why(of, key=R2)
        of.note_read(*R1, 4)
        assert decision.DUPLICATE is why(of)
        of.note_read(*R1, 5)
        of.note_read(*R1, 3)
        assert of.open(R1, 0) is of.open(R1, 99)

        assert expected is why(of)


def test_what_was_read_stands_as_long_as_its_hold() -> None:
    """From when it was last known to be queued.

    Only what is told once for each session has one.
    """
    of = memory(sees_reads=True, hold_s=60.0)
    store(of, no_olm(), 5)
    store(of, withheld(), 6)
    of.confirmed(records(of)[0], 10.0)
    of.confirmed(records(of)[0], 8.0)
    assert decision.DUPLICATE is why(of, now_s=71.0)
    of.note_read(*R1, 9)

    assert decision.DUPLICATE is why(of, now_s=70.0)
    assert decision.READ is why(of, now_s=71.0)
    assert decision.READ is why(of, withheld())


def test_a_row_that_is_gone_is_believed_no_more() -> None:
    """It is dropped once; its mailbox is still known."""
    of = memory()
    store(of, no_olm(), 5)
    (record,) = records(of)
    for key in (R1, R1, R2):
        of.drop(key, record)

    assert decision.FIRST is why(of)
    assert (True, 0) == (is_learned(of), of.pairs)


def test_rows_may_be_settled_in_another_order_than_they_were_stored() -> None:
    """On PostgreSQL ten threads shuffle.

    The newest stays; another is deleted, unless its row holds more.
    """
    for only_one_in_row, expected in ((True, [(5, 6)]), (False, [])):
        of = memory()
        early, late = begin(of, no_olm()), begin(of, no_olm())
        assert [] == of.settle(late, 6)
        found = of.settle(early, 5, only_one_in_row=only_one_in_row)

        assert (expected, [6]) == (pairs(found), stream_ids(of))


def test_all_of_a_mailbox_is_of_one_object() -> None:
    """That takes less room."""
    of = memory()
    store(of, no_olm(), 5, (R1[0], R1[1]))

    (record,) = records(of)
    assert record.mailbox is R1


def test_nothing_settles_into_a_mailbox_that_was_not_open_when_it_was_sorted() -> None:
    """What happened to it before is not known.

    What is believed in one that was opened meanwhile ends, and it is to be learned.
    """
    of = memory()
    nowhere, elsewhere = begin(of, no_olm(), R2), begin(of, no_olm("k2"))
    assert of.settle(nowhere, 5) is None
    assert of.peek(R2) is None
    assert decision.FIRST is why(of, key=R2)
    of.forget(R1)
    of.open(R1, 0).learned = True
    store(of, no_olm(), 5)
    assert of.settle(elsewhere, 6) is None

    assert ([5], False) == (stream_ids(of), is_learned(of))
    assert decision.REARMED is why(of)


def test_what_is_found_is_remembered_beside_what_is_known() -> None:
    """With what it is redundant for.

    Of what was seen being stored, or is on its way, the memory knows more. Whose room
    it takes is told by its sender.
    """
    of = memory(who_of=lambda sender, recipient: f"{sender} to {recipient}")
    store(of, no_olm(), 9)
    storing = begin(of, scoped())
    found = [(2, no_olm()), (3, withheld()), (4, withheld()), (5, request())]
    assert [(2, 9), (3, 4)] == learn(of, *found, (9, no_olm()), (10, scoped()))
    assert ["@s:hs to @r:hs"] * 2 == [each.who for each in records(of)[:2]]
    assert [] == of.settle(storing, 10)
    assert decision.DUPLICATE is why(of)

    assert [4, 5, 9, 10] == stream_ids(of)
    assert [False, False, True, True] == [each.seen_arriving for each in records(of)]


def test_what_is_stale_goes_for_anything_newer_in_the_mailbox() -> None:
    """Also where the memory saw it being stored."""
    of = memory()
    store(of, request("c", "2"), 5)
    rows = [Row(4, request(), stale=True), Row(5, request("c", "2"), stale=True)]
    superseded = of.learn(of.open(R1, 0), rows, 8, last=True)

    assert [Superseded(R1, 4, 8), Superseded(R1, 5, 8)] == superseded
    assert 0 == of.pairs
    # Also for what was stored since the mailbox was looked at.
    store(of, request("other"), 9)
    assert [(4, 9)] == pairs(of.learn(of.open(R1, 0), rows[:1], 4, last=True))


def test_a_mailbox_is_learned_with_its_last_page() -> None:
    """The newest page comes first, and links to what is on older ones.

    What was read of another that was open before is ignored.
    """
    of = memory()
    before = of.open(R2, 0)
    of.forget(R2)
    rows = [Row(1, no_olm()), Row(2, no_olm())]
    assert [] == of.learn(before, rows, 2, last=True)
    assert of.peek(R2) is None
    of.open(R2, 0)
    assert [] == of.learn(before, rows, 2, last=True)
    assert [] == learn(of, (8, no_olm()), key=R2, last=False)
    assert not is_learned(of, R2)
    assert [(3, 8)] == learn(of, (3, no_olm()), key=R2)
    assert [] == learn(of, key=R2, last=False)

    assert ([8], True) == (stream_ids(of, R2), is_learned(of, R2))


def test_nothing_is_left_of_what_is_forgotten() -> None:
    """But what is in flight: it is lost once it is stored."""
    of = memory()
    of.open(R2, 0)
    of.open(("@q:hs", "D1"), 0)
    assert ["D1", "D2"] == of.devices_of("@r:hs")
    for _ in range(2):
        of.forget(R1)
    assert ["D2"] == of.devices_of("@r:hs")
    store(of, no_olm(), 5, R2)
    storing = begin(of, no_olm(), R2)
    of.clear()
    assert (0, 0, []) == (len(of), of.pairs, of.devices_of("@r:hs"))
    assert 1 == of.rearm_users(R1[0], SENDER)

    assert of.settle(storing, 6) is None
    assert 0 == len(of._users)


# Olm messages re-arm what was sorted before them, in one step.


def is_rearmed(of: Memory, notice: Notice | None = None, key: MailboxKey = R1) -> bool:
    decided = why(of, notice, key=key)
    assert decided in {decision.REARMED, decision.DUPLICATE}
    return decided is decision.REARMED


def test_an_olm_message_to_the_device_rearms_its_pair() -> None:
    """Of the same sender, with the pair's key, to exactly this device.

    Requests are about no Olm sessions: their contents are no keys.
    """
    of = memory()
    of.open(R2, 0)
    store(of, no_olm(), 5)
    store(of, request("k2"), 6)
    begin(of, request("k2"))
    assert 0 == of.rearm_device(R1, SENDER, "k2")
    assert 0 == of.rearm_device(R1, OTHER, "k1")
    assert 0 == of.rearm_device(R2, SENDER, "k1")
    assert not is_rearmed(of)

    assert 1 == of.rearm_device(R1, SENDER, "k1")
    assert is_rearmed(of)
    # What is sorted afterwards is news no more.
    store(of, no_olm(), 7)
    assert not is_rearmed(of)


def test_an_olm_message_between_users_rearms_all_of_them() -> None:
    """Of all devices of the one, from all of the other."""
    of = memory()
    of.open(R2, 0)
    store(of, no_olm(), 5)
    store(of, no_olm("k2", device="B"), 6)
    store(of, no_olm(), 7, R2)
    assert 0 == of.rearm_users(SENDER, R1[0])
    assert 0 == of.rearm_users(R1[0], OTHER)

    assert 3 == of.rearm_users(R1[0], SENDER)
    assert is_rearmed(of)
    assert is_rearmed(of, no_olm("k2", device="B"))
    assert is_rearmed(of, key=R2)
    store(of, no_olm(), 8)
    assert not is_rearmed(of)


@pytest.mark.parametrize("to_device", [True, False])
def test_what_is_in_flight_is_rearmed_by_what_passes(to_device: bool) -> None:
    """Nobody knows which was stored first.

    What is stored counts beside it, and whoever is sorted after it is not re-armed.
    """
    of = memory()
    store(of, no_olm("k2", device="B"), 5)
    storing = begin(of, no_olm())
    begin(of, no_olm(), R2)
    assert (1 if to_device else 3) == (
        of.rearm_device(R1, SENDER, "k1")
        if to_device
        else of.rearm_users(R1[0], SENDER)
    )
    store(of, no_olm(), 7)
    assert not is_rearmed(of)
    of.settle(storing, 8)

    assert is_rearmed(of)


def test_no_number_is_kept_of_who_has_nothing_there() -> None:
    """Whoever sends Olm messages fills no memory with them."""
    of = memory()
    store(of, no_olm(), 5)
    begin(of, no_olm("k2"), R2)
    for number in range(100):
        of.rearm_device(R1, SENDER, f"other{number}")
        of.rearm_device(R2, SENDER, f"other{number}")
        of.rearm_device(("@q:hs", "D"), SENDER, f"k{number}")
        of.rearm_users(f"@q{number}:hs", SENDER)
        of.rearm_users(R1[0], f"@t{number}:hs")
    assert 0 == of._number
    assert not of._users._numbers
    assert not of._in_flight.ends._numbers
    assert [None] == [
        of_sender._rearmed
        for mailbox in of._mailboxes.values()
        for of_sender in mailbox._senders.values()
    ]


def test_a_number_goes_with_the_last_that_it_rearms() -> None:
    """Of the two devices or users, whatever else the sender has.

    None begins again: what was sorted before it stays re-armed.
    """
    of = memory()
    store(of, no_olm(), 5)
    store(of, no_olm("k2", device="B"), 6)
    early, other = begin(of, no_olm()), begin(of, no_olm("k2"), R2)
    for key in (R1, R2):
        of.rearm_device(key, SENDER, "k1")
        of.rearm_device(key, SENDER, "k2")
    of.abandon(other)
    of.drop(R1, records(of)[0])
    mailbox = of.peek(R1)
    sender = mailbox and mailbox._senders[SENDER]
    assert sender
    assert {"k2"} == (sender._rearmed or {}).keys()
    assert [(R1, SENDER, "k1")] == [*of._in_flight.ends._numbers]
    of.rearm_users(R1[0], SENDER)
    of.drop(R1, records(of)[0])
    of.settle(early, 7)
    assert is_rearmed(of)
    of.forget(R1)

    assert not of._users._numbers
    assert not of._in_flight.ends._numbers
    assert 0 == len(of._users) == len(list(of._in_flight))
    assert 0 == of.rearm_users(R1[0], SENDER)


def test_numbers_only_rise() -> None:
    """Whoever they are of: one that began again would pass for an old one."""
    of = memory()
    store(of, no_olm(), 5)
    for _ in range(3):
        of.rearm_device(R1, SENDER, "k1")
    store(of, no_olm(), 6)
    begin(of, no_olm(sender=OTHER))
    of.rearm_users(R1[0], OTHER)
    assert not is_rearmed(of)
    of.rearm_device(R1, SENDER, "k1")

    assert is_rearmed(of)

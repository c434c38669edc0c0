"""What is remembered of what was stored, and of what was found."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.tables.limits import MOST_OF_PAIR
from synapse_withheld.rules import decision
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row
from tests.unit.memory.naming import (
    R1,
    R2,
    SENDER,
    cancellation,
    is_learned,
    learn,
    memory,
    no_olm,
    pairs,
    records,
    request,
    store,
    stream_ids,
    withheld,
)


@pytest.mark.parametrize(
    ("queued", "notice", "left"),
    [
        (no_olm(), no_olm(), [6]),
        (no_olm(), no_olm("k2"), [6]),
        (no_olm(), no_olm(variant="scoped"), [5, 6]),
        (no_olm(variant="scoped"), no_olm(), [6]),
        (no_olm(), no_olm("k2", "scoped"), [5, 6]),
        (withheld(), withheld(code="m.blacklisted"), [6]),
        (request(), request(), [6]),
        (request(), request(content="other"), [5, 6]),
        (request(), cancellation(), [6]),
        (cancellation(), request(), [5, 6]),
    ],
)
def test_what_is_redundant_goes(
    queued: Notice, notice: Notice, left: list[int]
) -> None:
    """The rest is remembered, row by row."""
    of = memory()
    store(of, queued, 5)
    superseded = store(of, notice, 6)

    assert left == stream_ids(of)
    assert ([] if 5 in left else [(5, 6)]) == superseded
    assert len(left) == of.pairs


def test_of_a_request_the_newest_of_each_content_and_the_newest_cancellation_stay() -> (
    None
):
    """A request after a cancellation is a new one."""
    of = memory()
    store(of, request(), 1)
    store(of, cancellation(), 2)
    store(of, request(content="a"), 3)
    store(of, request(content="b"), 4)
    store(of, request(content="a"), 5)
    assert [2, 4, 5] == stream_ids(of)

    assert [(2, 6), (4, 6), (5, 6)] == store(of, cancellation(), 6)


def test_rows_may_be_settled_in_another_order_than_they_were_stored() -> None:
    """On PostgreSQL ten threads shuffle; the newest row is the one that stays."""
    of = memory()
    early, late = (of.begin(R1, no_olm(), SENDER, 0, 0.0) for _ in range(2))
    assert [] == of.settle(late, 6)

    assert [(5, 6)] == pairs(of.settle(early, 5))
    assert [6] == stream_ids(of)


def test_what_is_redundant_at_once_is_not_deleted_where_its_row_holds_more() -> None:
    """It is not remembered either."""
    of = memory()
    early, late = (of.begin(R1, no_olm(), SENDER, 0, 0.0) for _ in range(2))
    of.settle(late, 6)

    assert [] == of.settle(early, 5, only_one_in_row=False)
    assert [6] == stream_ids(of)


def test_a_row_that_holds_more_is_left_alone() -> None:
    """Nothing else in it may go; what is newer stands for it."""
    of = memory()
    store(of, no_olm(), 5, only_one_in_row=False)

    assert [] == store(of, no_olm(), 6)
    assert [(6, 7)] == store(of, no_olm(), 7)


def test_what_is_settled_is_known_as_it_was_sorted() -> None:
    """Its time, its device's, and whose room it takes."""
    of = memory()
    of.settle(of.begin(R1, no_olm(), "hs", 7, 1.5), 5)

    (record,) = records(of)
    assert (5, "hs", 7, 1.5) == (
        record.stream_id,
        record.who,
        record.device_list_id,
        record.queued_s,
    )
    assert record.seen_arriving
    assert record.only_one_in_row


def test_what_is_over_is_over() -> None:
    """To abandon it once more is nothing, nor to settle it."""
    of = memory()
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.settle(storing, 5)
    of.abandon(storing)
    assert [] == of.settle(storing, 6)

    assert [5] == stream_ids(of)
    assert not storing.is_lost


def test_nothing_settles_into_a_mailbox_that_was_not_open() -> None:
    """What happened to it before is not known."""
    of = memory()
    storing = of.begin(R2, no_olm(), SENDER, 0, 0.0)
    assert [] == of.settle(storing, 5)
    assert storing.is_lost
    assert of.peek(R2) is None


def test_nothing_settles_into_a_mailbox_that_was_opened_by_somebody_else() -> None:
    """Not even where it is open again; and what that holds is to be learned."""
    of = memory()
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.forget(R1)
    of.open(R1, 0).learned = True
    of.settle(storing, 5)

    assert storing.is_lost
    assert ([], False) == (stream_ids(of), is_learned(of))


def test_what_was_stored_behind_a_row_ends_the_belief_in_it() -> None:
    """Until it is learned, nobody knows which of the two a reader sees last."""
    of = memory()
    lost = of.begin(R2, no_olm("k2"), SENDER, 0, 0.0)
    of.open(R2, 0)
    store(of, no_olm(), 5, R2)
    of.settle(lost, 6)

    assert decision.REARMED is of.believe(R2, no_olm(), 0.0).decision


def test_what_is_found_is_remembered() -> None:
    """With what it is redundant for, whoever knew of it."""
    of = memory()
    store(of, no_olm(), 9)
    found = [(2, no_olm()), (3, withheld()), (4, withheld()), (5, request())]

    assert [(2, 9), (3, 4)] == learn(of, *found)
    assert [4, 5, 9] == stream_ids(of)
    assert [False, False, True] == [each.seen_arriving for each in records(of)]


def test_of_what_was_seen_being_stored_the_memory_knows_more() -> None:
    """A row that is found stays what it was."""
    of = memory()
    store(of, no_olm(), 5)
    (record,) = records(of)
    assert [] == learn(of, (5, no_olm()))

    assert [record] == records(of)
    assert decision.DUPLICATE is of.believe(R1, no_olm(), 0.0).decision


def test_a_row_that_was_found_before_it_is_settled_is_believed_then() -> None:
    """It is one row."""
    of = memory()
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    learn(of, (5, no_olm()))
    assert [] == of.settle(storing, 5)

    assert [5] == stream_ids(of)
    assert decision.DUPLICATE is of.believe(R1, no_olm(), 0.0).decision


def test_two_keys_that_were_found_stay_until_a_newer_one_is_seen_arriving() -> None:
    """Either may be a spoof that an old Synapse stored."""
    of = memory()
    assert [] == learn(of, (1, no_olm("k1")), (2, no_olm("k2")))
    assert [1, 2] == stream_ids(of)

    assert [(1, 3), (2, 3)] == store(of, no_olm("k3"), 3)


def test_what_is_stale_goes_for_anything_newer_in_the_mailbox() -> None:
    """Also where the memory saw it being stored."""
    of = memory()
    store(of, request("2"), 5)
    mailbox = of.open(R1, 0)
    rows = [Row(4, request(), stale=True), Row(5, request("2"), stale=True)]
    superseded = of.learn(R1, mailbox, rows, 8, last=True)

    assert [(4, 8), (5, 8)] == pairs(superseded)
    assert 0 == of.pairs


def test_a_mailbox_is_learned_with_its_last_page() -> None:
    """The newest page comes first, and links to what is on older ones."""
    of = memory()
    of.open(R2, 0)
    assert [] == learn(of, (8, no_olm()), key=R2, last=False)
    assert not is_learned(of, R2)
    assert [(3, 8)] == learn(of, (3, no_olm()), key=R2)

    assert is_learned(of, R2)


def test_what_was_found_in_a_mailbox_that_is_not_the_one_is_ignored() -> None:
    """It was forgotten meanwhile, and perhaps opened again."""
    of = memory()
    mailbox = of.open(R1, 0)
    of.forget(R1)
    of.open(R1, 0)
    rows = [Row(1, no_olm()), Row(2, no_olm())]
    assert [] == of.learn(R1, mailbox, rows, 2, last=True)
    assert ([], False) == (stream_ids(of), is_learned(of))
    of.forget(R1)

    assert [] == of.learn(R1, mailbox, rows, 2, last=True)
    assert 0 == len(of)


def test_an_empty_page_is_learned_too() -> None:
    """The mailbox held no notice."""
    of = memory()
    of.open(R2, 0)
    assert [] == learn(of, key=R2)

    assert is_learned(of, R2)


def test_a_pair_holds_a_bounded_number_of_rows() -> None:
    """What is beyond pushes out the oldest, and what is queued is not all known."""
    of = memory()
    for number in range(MOST_OF_PAIR):
        store(of, request(content=f"c{number}"), number)
    assert is_learned(of)
    store(of, request(content="one more"), 99)

    assert MOST_OF_PAIR == of.pairs
    assert 0 not in stream_ids(of)
    assert not is_learned(of)


def test_whose_room_what_was_found_takes_is_told_by_its_sender() -> None:
    """Nobody knows any more where it came from."""
    of = memory()
    of._who_of = lambda sender, recipient: f"{sender} to {recipient}"
    learn(of, (5, no_olm()))

    assert ["@s:hs to @r:hs"] == [each.who for each in records(of)]


def test_a_user_has_the_devices_whose_mailboxes_are_remembered() -> None:
    """And nobody else's."""
    of = memory()
    of.open(R2, 0)
    of.open(("@q:hs", "D1"), 0)
    assert ["D1", "D2"] == of.devices_of("@r:hs")
    of.forget(R1)
    of.forget(R1)

    assert ["D2"] == of.devices_of("@r:hs")
    assert [] == of.devices_of("@nobody:hs")


def test_nothing_is_left_of_what_is_forgotten() -> None:
    """But what is in flight: it is lost once it is stored."""
    of = memory()
    store(of, no_olm(), 5)
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.clear()
    assert (0, 0) == (len(of), of.pairs)
    of.settle(storing, 6)

    assert storing.is_lost
    assert 0 == len(of._users)

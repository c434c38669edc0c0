"""What makes way for what: nobody pushes out others, and no store takes longer."""

from __future__ import annotations

import attrs

from synapse_withheld.memory.tables.limits import (
    MOST_OF_SENDER,
    MOST_REQUESTS_OF_SENDER,
    Limits,
)
from synapse_withheld.rules import decision
from tests.unit.memory.naming import (
    R1,
    R2,
    SENDER,
    is_learned,
    learn,
    memory,
    no_olm,
    records,
    request,
    store,
    stream_ids,
    withheld,
)


def test_one_number_bounds_everything() -> None:
    """The default, and the least that can be chosen."""
    default, least = (attrs.astuple(Limits(most)) for most in (200_000, 1_000))

    assert (200_000, 100_000, 20_000, 20_000, 2_000) == default
    assert (1_000, 500, 100, 100, 10) == least


def test_a_hundred_sessions_do_not_push_out_the_one_plain_notice() -> None:
    of = memory()
    store(of, no_olm(), 1)
    for number in range(MOST_OF_SENDER + 20):
        store(of, withheld(str(number)), number + 2)

    assert MOST_OF_SENDER + 1 == of.pairs
    assert [1, 22] == stream_ids(of)[:2]
    assert decision.DUPLICATE is of.believe(R1, no_olm(), 0.0).decision
    assert decision.FIRST is of.believe(R1, withheld("3"), 0.0).decision


def test_a_sender_may_have_more_requests() -> None:
    of = memory()
    for number in range(MOST_REQUESTS_OF_SENDER):
        store(of, request("c", str(number)), number + 1)
    assert is_learned(of)
    store(of, request("c", "one more"), 9999)

    assert MOST_REQUESTS_OF_SENDER == of.pairs
    assert 2 == stream_ids(of)[0]
    assert not is_learned(of)


def test_one_server_has_no_more_room_for_all_its_users() -> None:
    of = memory(Limits(200_000, of_who_in_mailbox=5))
    store(of, no_olm(), 1)
    for number in range(10):
        store(of, no_olm(sender=f"@u{number}:else"), number + 2, who="else")

    assert [1, 7, 8, 9, 10, 11] == stream_ids(of)
    assert not is_learned(of)


def test_one_who_has_no_more_room_for_all_mailboxes() -> None:
    """The oldest goes, wherever it is; that mailbox is no longer learned."""
    of = memory(Limits(200_000, of_who=3))
    of.open(R2, 0).learned = True
    store(of, no_olm(sender="@t:hs"), 1)
    store(of, no_olm(), 2)
    for number in range(3):
        store(of, no_olm(device=f"B{number}"), number + 3, R2)

    assert ([1], False) == (stream_ids(of), is_learned(of))
    assert ([3, 4, 5], True) == (stream_ids(of, R2), is_learned(of, R2))


def test_in_a_full_mailbox_who_holds_most_makes_room() -> None:
    """Whoever comes; those who hold little keep it."""
    of = memory(Limits(200_000, of_mailbox=6, of_who_in_mailbox=4))
    for number in range(2):
        store(of, no_olm(), number + 1)
        store(of, no_olm(sender=f"@few{number}:hs"), number + 11)
    for number in range(3):
        store(of, no_olm(sender=f"@u{number}:else"), number + 21, who="else")
    assert is_learned(of)
    store(of, no_olm(sender="@new:hs"), 31)

    assert [2, 11, 12, 22, 23, 31] == stream_ids(of)
    assert not is_learned(of)
    learn(of, (5, no_olm(sender="@old:hs")))

    assert [2, 5, 11, 12, 23, 31] == stream_ids(of)


def test_the_mailbox_that_was_not_used_for_longest_goes_first() -> None:
    """To look at one, or to store into it, is to use it."""
    of = memory(Limits(200_000, mailboxes=2))
    of.open(R2, 0)
    assert of.get(R1) is not None
    of.open(("@q:hs", "D"), 0)
    assert of.peek(R2) is None
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    assert of.get(("@q:hs", "D")) is not None
    of.settle(storing, 1)
    of.open(("@q:hs", "E"), 0)

    assert (2, [1]) == (len(of), stream_ids(of))
    assert of.peek(("@q:hs", "D")) is None


def test_of_a_large_mailbox_only_some_is_forgotten_at_once() -> None:
    """All of it would hold up everybody; what is left is right as far as it goes."""
    of = memory(Limits(400, of_mailbox=400, of_who=400, of_who_in_mailbox=400))
    for number in range(400):
        store(of, no_olm(sender=f"@u{number}:hs"), number + 1)
    assert 400 == of.pairs
    of.open(R2, 0)
    store(of, no_olm(), 999, R2)

    assert 301 == of.pairs
    assert (300, False) == (len(records(of)), is_learned(of))
    assert [999] == stream_ids(of, R2)


def test_what_is_learned_beyond_the_limits_is_the_oldest() -> None:
    """What was seen being stored stays, and the next notice has it learned again."""
    of = memory()
    store(of, withheld("0"), 5000)
    found = [(number, withheld(str(number))) for number in range(1, 200)]
    assert [] == learn(of, *found)

    assert [*range(101, 200), 5000] == stream_ids(of)
    assert not is_learned(of)


def test_in_a_full_mailbox_of_equals_the_oldest_make_room() -> None:
    """Whether they come first or last: the next pages that are learned are older."""
    of = memory(Limits(200_000, of_mailbox=6, of_who_in_mailbox=6))
    found = [(number, no_olm(sender=f"@u{number}:hs")) for number in range(1, 21)]
    for page in (found[10:], found[:10]):
        learn(of, *reversed(page))
        assert [*range(15, 21)] == stream_ids(of)
    store(of, no_olm(), 21)

    assert [*range(16, 22)] == stream_ids(of)

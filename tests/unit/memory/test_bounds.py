"""What makes way for what: nobody pushes out others, and no store takes longer."""

from __future__ import annotations

from functools import partial
from typing import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.memory.tables.limits import (
    MOST_OF_SENDER,
    MOST_REQUESTS_OF_SENDER,
    Limits,
)
from synapse_withheld.memory.tables.mailbox import ByWho
from synapse_withheld.memory.tables.records import ByAge, Record
from synapse_withheld.memory.tables.sender import FEW, Sender
from synapse_withheld.rules import decision
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.known import R1, R2, Known, no_olm, request, withheld

Q = ("@q:hs", "D")


def test_one_number_bounds_everything() -> None:
    """The default, and the least that can be chosen."""
    default, least = (attrs.astuple(Limits(most)) for most in (200_000, 1_000))

    assert (200_000, 100_000, 20_000, 20_000, 2_000) == default
    assert (1_000, 500, 100, 100, 10) == least


@pytest.mark.parametrize(
    ("most", "notice"),
    [(MOST_OF_SENDER, withheld), (MOST_REQUESTS_OF_SENDER, partial(request, "c"))],
)
def test_a_hundred_sessions_do_not_push_out_the_one_plain_notice(
    most: int, notice: Callable[[str], Notice]
) -> None:
    """Nor do requests, of which one sender may have more."""
    of = Known()
    for number in range(most):
        of.stored(notice(str(number)), number + 2)
    of.stored(no_olm(), 1)
    assert of.is_learned()
    for number in range(most, most + 20):
        of.stored(notice(str(number)), number + 2)

    assert [1, *range(22, most + 22)] == of.rows()
    assert (decision.DUPLICATE, False) == (of.why(), of.is_learned())


def test_one_server_has_no_more_room_for_all_its_users() -> None:
    of = Known(Limits(200_000, of_who_in_mailbox=5))
    of.stored(no_olm(), 1)
    for number in range(10):
        of.stored(no_olm(sender=f"@u{number}:else"), number + 2, who="else")

    assert [1, 7, 8, 9, 10, 11] == of.rows()
    assert not of.is_learned()


def test_one_who_has_no_more_room_for_all_mailboxes() -> None:
    """The oldest goes, wherever it is; that mailbox is no longer learned."""
    of = Known(Limits(200_000, of_who=3))
    of.open(R2, 0).learned = True
    of.stored(no_olm(sender="@t:hs"), 1)
    of.stored(no_olm(), 2)
    for number in range(3):
        of.stored(no_olm(device=f"B{number}"), number + 3, R2)

    assert ([1], False) == (of.rows(), of.is_learned())
    assert ([3, 4, 5], True) == (of.rows(R2), of.is_learned(R2))


def test_in_a_full_mailbox_who_holds_most_makes_room() -> None:
    """Whoever comes; those who hold little keep it."""
    of = Known(Limits(200_000, of_mailbox=6, of_who_in_mailbox=4))
    for number in range(2):
        of.stored(no_olm(), number + 1)
        of.stored(no_olm(sender=f"@few{number}:hs"), number + 11)
    for number in range(3):
        of.stored(no_olm(sender=f"@u{number}:else"), number + 21, who="else")
    assert of.is_learned()
    of.stored(no_olm(sender="@new:hs"), 31)
    assert ([2, 11, 12, 22, 23, 31], False) == (of.rows(), of.is_learned())

    of.found((5, no_olm(sender="@old:hs")))
    assert [2, 5, 11, 12, 23, 31] == of.rows()


def test_in_a_full_mailbox_of_equals_the_oldest_make_room() -> None:
    """Whether they come first or last: the next pages that are learned are older."""
    of = Known(Limits(200_000, of_mailbox=6, of_who_in_mailbox=6))
    found = [(number, no_olm(sender=f"@u{number}:hs")) for number in range(1, 21)]
    for page in (found[10:], found[:10]):
        of.found(*reversed(page))
        assert [*range(15, 21)] == of.rows()
    of.stored(no_olm(), 21)

    assert [*range(16, 22)] == of.rows()


def test_what_is_learned_beyond_the_limits_is_the_oldest() -> None:
    """What was seen being stored stays, and the next notice has it learned again."""
    of = Known()
    of.stored(withheld("0"), 5000)
    of.found(*[(number, withheld(str(number))) for number in range(1, 200)])

    assert ([*range(101, 200), 5000], False) == (of.rows(), of.is_learned())


def test_the_mailbox_that_was_not_used_for_longest_goes_first() -> None:
    """To look at one, or to store into it, is to use it."""
    of = Known(Limits(200_000, mailboxes=2))
    of.open(R2, 0)
    assert of.get(R1) is not None
    of.open(Q, 0)
    assert of.peek(R2) is None
    storing = of.begun(no_olm())
    assert of.get(Q) is not None
    of.settle(storing, 1)
    of.open(("@q:hs", "E"), 0)

    assert (2, [1]) == (len(of), of.rows())
    assert of.peek(Q) is None


def test_of_a_large_mailbox_only_some_is_forgotten_at_once() -> None:
    """All of it would hold up everybody; what is left is right as far as it goes."""
    of = Known(Limits(400, of_mailbox=400, of_who=400, of_who_in_mailbox=400))
    for number in range(400):
        of.stored(no_olm(sender=f"@u{number}:hs"), number + 1)
    assert 400 == of.pairs
    of.open(R2, 0)
    of.stored(no_olm(), 999, R2)

    assert (301, 300, False) == (of.pairs, len(of.rows()), of.is_learned())
    assert [999] == of.rows(R2)


# What one who, and one sender, has in one mailbox.


def record(stream_id: int, who: str = "a", notice: Notice | None = None) -> Record:
    return Record(stream_id, notice or no_olm(), R1 if stream_id % 2 else R2, who, 0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_who_has_most_is_known_whatever_comes_and_goes(
    changes: list[tuple[str, bool]],
) -> None:
    by_who = ByWho([])
    naive: dict[str, ByAge] = {who: [] for who in "abcd"}
    for number, (who, comes) in enumerate(changes):
        if comes:
            naive[who].append(record(number, who))
            by_who.insert(naive[who][-1])
        elif naive[who]:
            by_who.remove(naive[who].pop(0))
        assert all(naive[each] == list(by_who.of(each)) for each in naive)
        most = max(map(len, naive.values()))
        assert most == (len(by_who.of_most()) if most else 0)


# As many of each rule that many are more than are looked through one by one.
@pytest.mark.parametrize("number", [2, FEW])
def test_what_one_sender_has_is_told_alike_of_few_and_of_many(number: int) -> None:
    """By rule, the oldest first, and by key; requests are of no key."""
    told = [no_olm("k1", device=f"A{each}") for each in range(number)]
    others = [no_olm("k2", device=f"B{each}") for each in range(number)]
    asked = [request("k3", str(each)) for each in range(number)]
    some = [record(n, notice=each) for n, each in enumerate([*told, *others, *asked])]
    sender = Sender([some[0]])
    for each in reversed(some[1:]):
        sender.insert(each)

    assert some[: 2 * number] == sender.of_rule(told[0].rule)
    assert some[2 * number :] == sender.of_rule(asked[0].rule)
    assert [] == sender.of_rule(withheld().rule)
    assert [number, number, 0] == [sender.of_key(key) for key in ("k1", "k2", "k3")]
    assert 0 == sender.rearm("k3", 7)
    assert number == sender.rearm("k1", 8)
    for left in reversed(range(number)):
        assert {"k1": 8} == sender._rearmed
        sender.remove(some[number - 1 - left])
        assert [left, number] == [sender.of_key(key) for key in ("k1", "k2")]
    for each in some[number:]:
        sender.remove(each)
    assert {} == sender._rearmed

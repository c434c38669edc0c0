"""Queues in which everybody has an equal share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.delivery.shares import Shares


def taken(shares: Shares[int]) -> list[tuple[str, int]]:
    """Take everything."""
    return [shares.take() for _ in range(len(shares))]


def filled(*items: tuple[str, int]) -> Shares[int]:
    """Return a queue with items of somebody."""
    shares: Shares[int] = Shares()
    for who, item in items:
        shares.add(who, item)
    return shares


def test_everybody_comes_in_turn() -> None:
    """However many of somebody else's came before."""
    shares = filled(*(("flood", number) for number in range(100)), ("honest", 0))

    assert [shares.take(), shares.take()] == [("flood", 0), ("honest", 0)]


def test_of_one_the_first_comes_first() -> None:
    """Nothing overtakes."""
    assert taken(filled(("a", 1), ("a", 2), ("a", 3))) == [("a", 1), ("a", 2), ("a", 3)]


def test_what_is_put_back_comes_before_others_of_the_same_somebody() -> None:
    """But not before what others have."""
    shares = filled(("a", 1), ("a", 2), ("b", 3))
    who, item = shares.take()
    shares.put_back(who, item)

    assert taken(shares) == [("b", 3), ("a", 1), ("a", 2)]


def test_the_last_of_somebody_can_be_put_back() -> None:
    """Behind what others have by then."""
    shares = filled(("a", 1), ("b", 2))
    who, item = shares.take()
    shares.put_back(who, item)

    assert len(shares) == 2
    assert taken(shares) == [("b", 2), ("a", 1)]


def test_it_is_empty_once_everything_is_taken() -> None:
    """And nothing is kept for nobody."""
    shares = filled(("a", 1))
    assert (len(shares), shares.of("a"), shares.of("b")) == (1, 1, 0)
    shares.take()

    assert (len(shares), shares.of("a")) == (0, 0)
    assert not shares


@given(st.lists(st.sampled_from("abc")))
def test_nobody_waits_for_two_of_the_same_other(whose: list[str]) -> None:
    """Between two of one, of each of the others at most one is taken."""
    order = [who for who, _ in taken(filled(*zip(whose, range(len(whose)))))]

    assert sorted(order) == sorted(whose)
    for who in set(whose):
        places = [place for place, each in enumerate(order) if each == who]
        for before, after in zip([-1, *places], places):
            between = order[before + 1 : after]
            assert len(between) == len(set(between))

"""Queues in which everybody has an equal share; work that is tried again."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.delivery import shares
from synapse_withheld.delivery.shares import Piece, Shares, Work


class Mine(NamedTuple):
    who: str
    number: int


def taken(queue: Shares[Mine]) -> list[Mine]:
    return [queue.take() for _ in range(len(queue))]


def filled(*items: tuple[str, int]) -> Shares[Mine]:
    queue: Shares[Mine] = Shares()
    for item in items:
        queue.add(Mine(*item))
    return queue


@attrs.define(eq=False)
class Numbered(Piece):
    """A piece of work that is told apart."""

    number: int


def work(**counts: int) -> Work[Numbered]:
    queue: Work[Numbered] = Work()
    for who, count in counts.items():
        for number in range(count):
            assert queue.queue(Numbered(who, number))
    return queue


def pieces(some: list[Numbered]) -> list[tuple[str, int]]:
    return [(piece.who, piece.number) for piece in some]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        # Behind what others have, before what is of the same somebody.
        ([("a", 1), ("a", 2), ("b", 3)], [("b", 3), ("a", 1), ("a", 2)]),
        # Also where it was the last of somebody.
        ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]),
    ],
)
def test_what_is_put_back_comes_in_the_next_turn(
    items: list[tuple[str, int]], expected: list[tuple[str, int]]
) -> None:
    queue = filled(*items)
    queue.put_back(queue.take())

    assert len(items) == len(queue)
    assert expected == taken(queue)


@given(st.lists(st.sampled_from("abc")))
def test_nobody_waits_for_two_of_the_same_other(whose: list[str]) -> None:
    """Between two of one, of each of the others at most one is taken; none is lost."""
    items = list(zip(whose, range(len(whose))))
    order = taken(filled(*items))

    for who in set(whose):
        mine = [item for item in order if item.who == who]
        assert mine == [item for item in items if item[0] == who]
        places = [place for place, each in enumerate(order) if each.who == who]
        for before, after in zip([-1, *places], places):
            between = [each.who for each in order[before + 1 : after]]
            assert len(between) == len(set(between))


def test_only_so_much_work_is_queued() -> None:
    """Of one, so that there is room for others; and of all together."""
    queue = work(flood=shares.MOST_OF_ONE)
    assert not queue.queue(Numbered("flood", -1))
    many = shares.MOST_QUEUED // shares.MOST_OF_ONE
    more = {f"flood{number}": shares.MOST_OF_ONE for number in range(1, many)}
    for who, count in more.items():
        assert all(queue.queue(Numbered(who, number)) for number in range(count))
    assert shares.MOST_QUEUED == len(queue)
    assert not queue.queue(Numbered("one more", 0))
    queue.take_some(1)

    assert queue.queue(Numbered("one more", 0))


def test_work_is_put_back_in_its_order() -> None:
    """Before other work of the same somebody."""
    queue = work(a=3)
    queue.put_all_back(queue.take_some(2))

    assert [("a", 0), ("a", 1), ("a", 2)] == pieces(queue.take_some(3))


def test_what_fails_is_tried_again_and_given_up_in_the_end() -> None:
    """Only what failed so often itself; an answer is passed on."""
    queue = work(a=1)
    given_up: list[Numbered] = []

    async def answer(*, fails: bool) -> str:
        if fails:
            raise KeyError
        return "answer"

    def ask(some: list[Numbered], *, fails: bool = True) -> str:
        return driven(queue.asking(some, answer(fails=fails), given_up.append))

    for _ in range(shares.MOST_TRIES - 1):
        with pytest.raises(KeyError):
            ask(queue.take_some(1))
    assert [] == given_up
    queue.queue(Numbered("a", 1))
    with pytest.raises(KeyError):
        ask(queue.take_some(2))
    assert [("a", 0)] == pieces(given_up)

    assert "answer" == ask(queue.take_some(2), fails=False)
    assert (0, 1) == (len(queue), len(given_up))

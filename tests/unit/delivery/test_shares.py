"""Queues in which everybody has an equal share; work that is tried again."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.delivery import shares
from synapse_withheld.delivery.shares import Piece, Work


@attrs.define(eq=False)
class Numbered(Piece):
    """A piece of work that is told apart."""

    number: int


def filled(whose: str) -> Work[Numbered]:
    """Return a queue with a piece of each, numbered in the order in which they came."""
    queue: Work[Numbered] = Work()
    for number, who in enumerate(whose):
        queue.add(Numbered(who, number))
    return queue


def taken(queue: Work[Numbered]) -> list[tuple[str, int]]:
    return [(piece.who, piece.number) for piece in queue.take_some(len(queue))]


@pytest.mark.parametrize(
    ("whose", "expected"),
    [
        # Behind what others have, before what is of the same somebody.
        ("aab", [("b", 2), ("a", 0), ("a", 1)]),
        # Also where it was the last of somebody.
        ("ab", [("b", 1), ("a", 0)]),
    ],
)
def test_what_is_put_back_comes_in_the_next_turn(
    whose: str, expected: list[tuple[str, int]]
) -> None:
    queue = filled(whose)
    queue.put_back(queue.take())

    assert len(whose) == len(queue)
    assert expected == taken(queue)


@given(st.text("abc", max_size=30))
def test_nobody_waits_for_two_of_the_same_other(whose: str) -> None:
    """Between two of one, of each of the others at most one is taken; none is lost."""
    order = taken(filled(whose))

    for who in set(whose):
        came = [number for number, each in enumerate(whose) if each == who]
        assert came == [number for each, number in order if each == who]
        places = [place for place, each in enumerate(order) if each[0] == who]
        for before, after in zip([-1, *places], places):
            between = [each for each, _ in order[before + 1 : after]]
            assert len(between) == len(set(between))


def test_only_so_much_work_is_queued() -> None:
    """Of one, so that there is room for others; and of all together."""
    queue: Work[Numbered] = Work()

    def fits(who: object) -> bool:
        return queue.queue(Numbered(str(who), 0))

    for who in range(shares.MOST_QUEUED // shares.MOST_OF_ONE):
        assert all(fits(who) for _ in range(shares.MOST_OF_ONE))
        assert not fits(who)
    assert shares.MOST_QUEUED == len(queue)
    assert not fits("one more")
    queue.take_some(1)

    assert fits("one more")


def test_work_is_put_back_in_its_order() -> None:
    """Before other work of the same somebody."""
    queue = filled("aaa")
    queue.put_all_back(queue.take_some(2))

    assert [("a", 0), ("a", 1), ("a", 2)] == taken(queue)


def test_what_fails_is_tried_again_and_given_up_in_the_end() -> None:
    """Only what failed so often itself; an answer is passed on."""
    queue = filled("a")
    given_up: list[Numbered] = []

    async def answer(*, fails: bool) -> str:
        if fails:
            raise KeyError
        return "answer"

    def ask(*, fails: bool = True) -> str:
        some = queue.take_some(2)
        return driven(queue.asking(some, answer(fails=fails), given_up.append))

    for _ in range(shares.MOST_TRIES - 1):
        with pytest.raises(KeyError):
            ask()
    assert [] == given_up
    queue.add(Numbered("a", 1))
    with pytest.raises(KeyError):
        ask()
    assert [0] == [piece.number for piece in given_up]

    assert "answer" == ask(fails=False)
    assert (0, 1) == (len(queue), len(given_up))

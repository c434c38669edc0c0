"""Queues in which everybody has an equal share, and the room of those who wait."""

from __future__ import annotations

from unittest.mock import MagicMock

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.delivery import shares
from synapse_withheld.delivery.batch import Batch
from synapse_withheld.delivery.confirming.waiting import Waiting, WaitingRoom
from synapse_withheld.delivery.shares import Piece, Work

SENDER, OTHER = "@s:hs", "@t:hs"


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


@pytest.mark.parametrize(
    ("whose", "most", "expected"),
    [
        # Behind what others have, before what is of the same somebody.
        ("aab", 1, [("b", 2), ("a", 0), ("a", 1)]),
        # Also where it was the last of somebody.
        ("ab", 1, [("b", 1), ("a", 0)]),
        ("aaa", 2, [("a", 0), ("a", 1), ("a", 2)]),
    ],
)
def test_what_is_put_back_comes_in_the_next_turn(
    whose: str, most: int, expected: list[tuple[str, int]]
) -> None:
    queue = filled(whose)
    queue.put_all_back(queue.take_some(most))

    assert len(whose) == len(queue)
    assert expected == taken(queue)


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


# Who waits, and which of them something of the same sender would overtake.


def enter(room: WaitingRoom, users: str, sender: str = SENDER) -> Waiting:
    batch = Batch({user: {"R": {}} for user in users}, {}, sender, "who", 0.0)
    item = Waiting(batch, [], lambda: None, is_stored=False)
    room.enter(item)
    return item


def test_who_waits_is_told_apart_and_nothing_is_kept_of_who_left() -> None:
    """By sender and user, the oldest first; what is stored holds up nobody."""
    room = WaitingRoom()
    first, other_user = enter(room, "ab"), enter(room, "c")
    other_sender, second = enter(room, "a", OTHER), enter(room, "ab")
    stored = enter(room, "")
    assert [first, second] == room.of(SENDER, {"a", "b", "nobody"})
    assert [] == room.of(SENDER, {"nobody"}) == room.of("@nobody:hs", {"a"})
    assert [first, other_user, other_sender, second, stored] == list(room)

    for item in (first, other_user, other_sender):
        room.leave(item)
    assert [second] == room.of(SENDER, {"a", "b"})
    assert not room.waits_for(OTHER)
    room.leave(second)
    assert not room.waits_for(SENDER)
    room.leave(stored)
    assert (0, {}) == (len(room), room._by_sender)


@pytest.mark.parametrize(
    ("users", "asked", "expected"),
    [
        # And whom that would overtake, of the same sender and for the same users.
        (["az", "ab", "bc", "ca"], [2], [0, 1, 2]),
        (["az", "ab", "bc", "ca"], [1], [0, 1]),
        (["az", "ab"], [], []),
        # Each once, in the order in which they came, whoever leads to it.
        (["a", "c", "ca", "x", "ac"], [4, 2, 1, 0], [0, 1, 2, 4]),
        # What is between two of one user.
        (["a", "a", "a"], [0, 2], [0, 1, 2]),
        # What is found first is not the latest that leads further.
        (["ba", "a", "ca", "bc"], [3], [0, 1, 2, 3]),
        # One user of it was looked at, another was not.
        (["b", "ab", "a"], [2], [0, 1, 2]),
    ],
)
def test_who_would_be_overtaken_goes_first(
    users: list[str], asked: list[int], expected: list[int]
) -> None:
    """One leads to another, in any order; never to what another sender's would."""
    room = WaitingRoom()
    some = []
    for each in users:
        enter(room, each, OTHER)
        some.append(enter(room, each))

    found = room.with_earlier([some[each] for each in asked])
    assert expected == [some.index(each) for each in found]


def test_each_user_is_looked_at_once_however_many_wait() -> None:
    room = WaitingRoom()
    some = [enter(room, "a") for _ in range(3)]
    by_user = MagicMock()
    by_user.__getitem__.side_effect = room._by_sender[SENDER].__getitem__
    room._by_sender[SENDER] = by_user

    assert some == room.with_earlier(some)
    by_user.__getitem__.assert_called_once_with("a")

"""Queues in which everybody has an equal share, and the room of those who wait."""

from __future__ import annotations

from unittest.mock import MagicMock

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synapse_withheld.delivery import shares
from synapse_withheld.delivery.batch import Batch
from synapse_withheld.delivery.confirming.waiting_room import Waiting, WaitingRoom
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


# Who waits, and which of them something of the same sender would overtake.


def enter(room: WaitingRoom, sender: str, users: str) -> Waiting:
    batch = Batch({user: {"R": {}} for user in users}, {}, sender, "who", 0.0)
    item = Waiting(batch, [], lambda: None, is_stored=False)
    room.enter(item)
    return item


# By whom, to whom, and whether it is asked about.
CAME = st.tuples(
    st.sampled_from("sssst"),
    st.sampled_from(["", "a", "b", "c", "ab", "bc", "ca"]),
    st.sampled_from([False, False, True]),
)


# One leads to another by way of a third.
@example([("s", "b", False), ("s", "ab", False), ("s", "a", True)])
# The latest leads to the most.
@example([("s", to, to == "ab") for to in ("bc", "c", "ca", "ab")])
@given(st.lists(CAME, max_size=8))
def test_who_would_be_overtaken_goes_first(came: list[tuple[str, str, bool]]) -> None:
    """Of the same sender, for one of the same users; one leads to another.

    Nothing is kept of who left.
    """
    room = WaitingRoom()
    items = [enter(room, sender, users) for sender, users, _ in came]
    expected = {number for number, each in enumerate(came) if each[2]}
    found = room.with_earlier([items[number] for number in expected])
    for number in reversed(range(len(came))):
        sender, users, _ = came[number]
        same = [
            other
            for other, (of, to, _) in enumerate(came)
            if of == sender and {*to} & {*users}
        ]
        assert [items[other] for other in same] == room.of(sender, [*users, "nobody"])
        if number in expected:
            expected |= {other for other in same if other < number}

    assert [items[number] for number in sorted(expected)] == found
    assert items == list(room)
    for left, item in enumerate(items, 1):
        room.leave(item)
        senders = {sender for sender, users, _ in came[left:] if users}
        assert senders == {sender for sender in "st" if room.waits_for(sender)}
    assert (0, {}) == (len(room), room._by_sender)


def test_each_user_is_looked_at_once_however_many_wait() -> None:
    room = WaitingRoom()
    some = [enter(room, "s", "a") for _ in range(3)]
    by_user = MagicMock()
    by_user.__getitem__.side_effect = room._by_sender["s"].__getitem__
    room._by_sender["s"] = by_user

    assert some == room.with_earlier(some)
    by_user.__getitem__.assert_called_once_with("a")

"""Who waits, and which of them something of the same sender would overtake."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from synapse_withheld.delivery.batch import Batch
from synapse_withheld.delivery.confirming.waiting import Waiting, WaitingRoom

SENDER, OTHER = "@s:hs", "@t:hs"


def enter(room: WaitingRoom, users: str, sender: str = SENDER) -> Waiting:
    batch = Batch({user: {"R": {}} for user in users}, {}, sender, "who", 0.0)
    item = Waiting(batch, [], lambda: None, is_stored=False)
    room.enter(item)
    return item


def test_who_waits_is_told_apart_and_nothing_is_kept_of_who_left() -> None:
    """By sender and user, the oldest first; in `observe` a batch waits for nobody."""
    room = WaitingRoom()
    first, other_user = enter(room, "ab"), enter(room, "c")
    other_sender, second = enter(room, "a", OTHER), enter(room, "ab")
    stored = enter(room, "")
    assert [first, second] == room.of(SENDER, {"a", "b", "nobody"})
    assert [] == room.of(SENDER, {"nobody"}) == room.of("@nobody:hs", {"a"})
    assert [first, other_user, other_sender, second, stored] == list(room)
    assert 5 == len(room)

    for item in (stored, first, other_user, other_sender):
        room.leave(item)
    assert room.waits_for(SENDER)
    assert not room.waits_for(OTHER)
    assert [second] == room.of(SENDER, {"a", "b"})
    room.leave(second)
    assert not room.waits_for(SENDER)
    assert (0, {}) == (len(room), room._by_sender)
    only_stored = enter(room, "")
    assert not room.waits_for(SENDER)
    assert only_stored.number > second.number > first.number
    room.leave(only_stored)

    assert 0 == len(room)


@pytest.mark.parametrize(
    ("users", "asked", "expected"),
    [
        # And whom that would overtake, of the same sender and for the same users.
        (["az", "ab", "bc", "ca"], [2], [0, 1, 2]),
        (["az", "ab", "bc", "ca"], [1], [0, 1]),
        (["az", "ab", "bc", "ca"], [3], [0, 1, 2, 3]),
        (["az", "ab"], [], []),
        # Each once, in the order in which they came, whoever leads to it.
        (["a", "c", "ca", "x", "ac"], [4, 2, 1, 0], [0, 1, 2, 4]),
        (["a", "c", "ca", "x", "ac"], [4, 2], [0, 1, 2, 4]),
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

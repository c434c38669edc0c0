"""Who waits, and which of them something of the same sender would overtake."""

from __future__ import annotations

import pytest

from synapse_withheld.delivery.batch import Batch, Candidate
from synapse_withheld.delivery.confirming.waiting import Waiting, WaitingRoom
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair

SENDER = "@s:hs"
NOTICE = Notice(NoOlm(), Pair(SENDER, "device:S", "m.room_key.withheld"), "key", "")


def waiting(*queues: str) -> Waiting:
    """Return a batch with a believed duplicate for each of some queues."""
    doubtful = [
        Candidate(queue, ("@r:hs", "R"), NOTICE, {}, decisions.DUPLICATE)
        for queue in queues
    ]
    batch = Batch({}, {}, SENDER, SENDER, 0.0)
    return Waiting(batch, doubtful, lambda: None, is_stored=False)


def test_what_is_not_answered_is_kept_by_queue() -> None:
    """Each queue is asked about for itself."""
    item = waiting("inbox", "outbox", "inbox")

    assert item.left == 3
    counts = {queue: len(some) for queue, some in item.unanswered.items()}
    assert counts == {"inbox": 2, "outbox": 1}
    first, second, third = item.doubtful
    assert list(item.unanswered["inbox"]) == [first, third]
    assert list(item.unanswered["outbox"]) == [second]


def test_only_what_waits_for_the_same_users_would_be_overtaken() -> None:
    """Of the same sender, the oldest first."""
    room = WaitingRoom()
    first, second, other_user, other_sender = (waiting("inbox") for _ in range(4))
    room.enter(first, SENDER, ["@a:hs", "@b:hs"])
    room.enter(other_user, SENDER, ["@c:hs"])
    room.enter(other_sender, "@t:hs", ["@a:hs"])
    room.enter(second, SENDER, ["@a:hs"])

    assert room.of(SENDER, {"@a:hs", "@b:hs", "@nobody:hs"}) == [first, second]
    assert room.of(SENDER, {"@nobody:hs"}) == []
    assert room.of("@nobody:hs", {"@a:hs"}) == []


def test_who_left_waits_no_longer() -> None:
    """And nothing is kept of it."""
    room = WaitingRoom()
    first, second = waiting("inbox"), waiting("inbox")
    room.enter(first, SENDER, ["@a:hs", "@b:hs"])
    room.enter(second, SENDER, ["@b:hs"])
    assert (len(room), list(room)) == (2, [first, second])

    room.leave(first)
    assert room.waits_for(SENDER)
    assert room.of(SENDER, {"@a:hs", "@b:hs"}) == [second]
    room.leave(second)

    assert not room.waits_for(SENDER)
    assert list(room) == []


def test_what_is_stored_already_holds_up_nobody() -> None:
    """In `observe` a batch waits for no user."""
    room = WaitingRoom()
    item = waiting("inbox")
    room.enter(item, SENDER, ())

    assert not room.waits_for(SENDER)
    room.leave(item)
    assert len(room) == 0


def test_who_would_be_overtaken_goes_first() -> None:
    """And whom that would overtake: of the same sender, for the same users."""
    room = WaitingRoom()
    first, other, second, third, later = (waiting("inbox") for _ in range(5))
    room.enter(first, SENDER, ["@a:hs", "@z:hs"])
    room.enter(other, "@t:hs", ["@a:hs", "@b:hs"])
    room.enter(second, SENDER, ["@a:hs", "@b:hs"])
    room.enter(third, SENDER, ["@b:hs", "@c:hs"])
    room.enter(later, SENDER, ["@c:hs", "@a:hs"])

    assert room.with_earlier([third]) == [first, second, third]
    assert room.with_earlier([second]) == [first, second]
    assert room.with_earlier([other, first]) == [first, other]
    assert room.with_earlier([later]) == [first, second, third, later]
    assert room.with_earlier([]) == []


def test_of_those_who_go_at_once_each_is_told_once() -> None:
    """However many lead to it, and whoever of them is for more users."""
    room = WaitingRoom()
    some = [waiting("inbox") for _ in range(5)]
    users = [["@a:hs"], ["@c:hs"], ["@c:hs", "@a:hs"], ["@x:hs"], ["@a:hs", "@c:hs"]]
    for item, whom in zip(some, users):
        room.enter(item, SENDER, whom)

    expected = [some[0], some[1], some[2], some[4]]
    assert room.with_earlier(reversed(expected)) == expected
    assert room.with_earlier([some[4], some[2]]) == expected


@pytest.mark.parametrize(
    ("users", "asked", "expected"),
    [
        # What is between two of one user.
        (["a", "a", "a"], [0, 2], [0, 1, 2]),
        # What is found first is not the latest that leads further.
        (["ba", "a", "ca", "bc"], [3], [0, 1, 2, 3]),
        # One user of it was looked at, another was not.
        (["b", "ab", "a"], [2], [0, 1, 2]),
    ],
)
def test_nobody_is_overtaken_wherever_the_search_begins(
    users: list[str], asked: list[int], expected: list[int]
) -> None:
    """One leads to another, in any order."""
    room = WaitingRoom()
    some = [waiting("inbox") for _ in users]
    for item, whom in zip(some, users):
        room.enter(item, SENDER, [f"@{each}:hs" for each in whom])

    found = room.with_earlier([some[each] for each in asked])
    assert [some.index(each) for each in found] == expected


def test_the_numbers_of_those_who_wait_rise() -> None:
    """Also after some left."""
    room = WaitingRoom()
    some = [waiting("inbox") for _ in range(3)]
    for item in some:
        room.enter(item, SENDER, ["@a:hs"])
        room.leave(item)

    numbers = [item.number for item in some]
    assert numbers == sorted(set(numbers))


def test_who_waits_for_nobody_leaves_those_who_do() -> None:
    """Whether or not anybody else of its sender waits."""
    room = WaitingRoom()
    stored, item = waiting("inbox"), waiting("inbox")
    room.enter(stored, SENDER, ())
    room.enter(item, SENDER, ["@a:hs"])
    room.leave(stored)
    assert room.waits_for(SENDER)
    room.leave(item)

    assert not room.waits_for(SENDER)
    assert room._by_sender == {}

"""Work in the background: bounded, in equal shares, tried again where it failed."""

from __future__ import annotations

from synapse_withheld.delivery.housekeeping import work
from synapse_withheld.delivery.housekeeping.work import Piece, Work


def filled(**counts: int) -> Work[int]:
    """Return so many pieces of work of each."""
    queue: Work[int] = Work()
    for who, count in counts.items():
        for number in range(count):
            assert queue.add(who, number)
    return queue


def items(pieces: list[Piece[int]]) -> list[tuple[str, int]]:
    """Return whose they are, and what."""
    return [(piece.who, piece.item) for piece in pieces]


def test_of_one_only_so_much_is_queued() -> None:
    """And then still something of others."""
    queue = filled(flood=work.MOST_OF_ONE)

    assert not queue.add("flood", -1)
    assert queue.add("honest", 0)
    assert len(queue) == work.MOST_OF_ONE + 1


def test_all_together_only_so_much_is_queued() -> None:
    """However many they are."""
    many = work.MOST_QUEUED // work.MOST_OF_ONE
    queue = filled(**{f"flood{number}": work.MOST_OF_ONE for number in range(many)})

    assert not queue.add("one more", 0)
    queue.take(1)
    assert queue.add("one more", 0)


def test_it_is_taken_in_equal_shares() -> None:
    """As many pieces as there are, at most as many as are wanted."""
    queue = filled(a=3, b=1)

    assert items(queue.take(3)) == [("a", 0), ("b", 0), ("a", 1)]
    assert items(queue.take(10)) == [("a", 2)]
    assert queue.take(10) == []


def test_what_is_put_back_comes_again_in_its_order() -> None:
    """Before others of the same somebody."""
    queue = filled(a=3)
    queue.put_back(queue.take(2))

    assert items(queue.take(3)) == [("a", 0), ("a", 1), ("a", 2)]


def test_what_is_put_behind_comes_last_of_the_same_somebody() -> None:
    """As a mailbox does that has another page."""
    queue = filled(a=2)
    (first,) = queue.take(1)
    queue.put_behind(first)

    assert items(queue.take(2)) == [("a", 1), ("a", 0)]


def test_what_is_put_behind_takes_no_other_share() -> None:
    """It is still of the same somebody."""
    queue = filled(a=2, b=2)
    (first,) = queue.take(1)
    queue.put_behind(first)

    assert items(queue.take(4)) == [("b", 0), ("a", 1), ("b", 1), ("a", 0)]


def test_what_fails_is_tried_again_and_given_up_in_the_end() -> None:
    """Only what failed so often itself."""
    queue = filled(a=1)
    for _ in range(work.MOST_TRIES - 1):
        assert queue.failed(queue.take(1)) == []
    queue.add("a", 1)

    assert items(queue.failed(queue.take(2))) == [("a", 0)]
    assert items(queue.take(2)) == [("a", 1)]

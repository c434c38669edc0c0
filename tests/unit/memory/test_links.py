"""What passed between a sender's key and a user is counted once for all pairs."""

from __future__ import annotations

from synapse_withheld.memory.links import MOST_COUNTED, LinksOfUsers

USER = "@r:hs"


def test_an_olm_message_passed_since_then() -> None:
    """Not before: each pair begins with what was counted so far."""
    links = LinksOfUsers()
    first = links.hold(USER, 5)
    assert 1 == links[USER].count_message(5)
    second = links.hold(USER, 5)

    assert links[USER].passed_since(5, first)
    assert not links[USER].passed_since(5, second)
    assert 2 == links[USER].count_message(5)
    assert links[USER].passed_since(5, second)


def test_keys_are_apart() -> None:
    """One that nobody holds counts nothing."""
    links = LinksOfUsers()
    begun = links.hold(USER, 5), links.hold(USER, 6)

    assert [0, 1] == [links[USER].count_message(place) for place in (4, 6)]
    assert not links[USER].passed_since(5, begun[0])
    assert links[USER].passed_since(6, begun[1])


def test_it_is_forgotten_with_the_last_pair_that_holds_it() -> None:
    """So memory is bounded by the pairs; the next one begins anew."""
    links = LinksOfUsers()
    for place in (5, 5, 6):
        links.hold(USER, place)
    links[USER].count_message(5)
    assert 3 == links[USER].pairs

    links.release(USER, 5)
    assert (2, 1) == (links[USER].count, links[USER].count_message(5))
    links.release(USER, 5)
    assert (1, 0) == (links[USER].count, links[USER].count_message(5))
    links.release(USER, 6)
    assert not links
    assert 0 == links.hold(USER, 5)


def test_one_that_is_not_held_may_have_missed_something() -> None:
    """So it counts as re-armed, whatever was counted."""
    links = LinksOfUsers()
    links.hold(USER, 5)

    assert links[USER].passed_since(4, 0)
    links[USER].release(4)
    assert 1 == links[USER].pairs


def test_beyond_what_is_counted_pairs_stay_rearmed() -> None:
    """Which costs a write each time; nothing else is lost, and nothing overflows."""
    links = LinksOfUsers()
    links.hold(USER, 5)
    position = links[USER].find(5)
    assert position is not None
    links[USER].put(position, (5, MOST_COUNTED - 1, 1))
    before = links.hold(USER, 5)
    assert not links[USER].passed_since(5, before)

    for _ in range(2):
        links[USER].count_message(5)
        assert links[USER].passed_since(5, links.hold(USER, 5))
    assert MOST_COUNTED == links.hold(USER, 5)

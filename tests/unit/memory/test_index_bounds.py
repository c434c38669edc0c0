"""What the index counts, and what makes way for what."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.fingerprints import Fingerprint, Fingerprints, place_of
from synapse_withheld.rules.mailbox import Remembered
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.test_index import R1, R2, index, learn, notice, queued, store


def test_a_mailbox_that_is_not_known_has_room_for_nothing() -> None:
    """Its first reading comes before."""
    of = index()

    assert not of.has_room(R1, notice())
    assert [] == of.in_the_way_of(R1, notice(), 100)


def test_a_device_that_does_not_exist_is_not_remembered_later_either() -> None:
    """Its reading ended, so nothing that is stored for it counts as queued."""
    of = index()
    of.end_reading(R1, of.begin_reading(R1), None)
    store(of, R1, notice(), 5)

    assert (0, 0) == (of.pairs, len(of))
    assert of.queued(R1, notice()) is None


def test_what_a_sender_has_is_in_its_own_way_first() -> None:
    """Nobody makes room for it at the cost of others."""
    of = index(pairs_per_sender=2)
    learn(of, R1)
    for stream_id, device in enumerate("AB"):
        store(of, R1, notice(device), stream_id)
    store(of, R1, notice("A", sender="@t:hs"), 5)

    in_the_way = of.in_the_way_of(R1, notice("C"), 100)

    assert [0, 1] == [each.stream_id for each in in_the_way]


def test_what_everybody_has_is_in_the_way_of_a_new_sender() -> None:
    """Where the mailbox is full."""
    of = index(pairs_per_mailbox=2)
    learn(of, R1)
    store(of, R1, notice("A"), 1)
    store(of, R1, notice("B", sender="@t:hs"), 2)

    in_the_way = of.in_the_way_of(R1, notice("C", sender="@u:hs"), 100)

    assert [1, 2] == [each.stream_id for each in in_the_way]


def test_what_is_dropped_makes_room_for_exactly_one() -> None:
    """In its mailbox and in the total."""
    of = index(pairs_per_mailbox=3)
    learn(of, R1)
    for stream_id, device in enumerate("ABC"):
        store(of, R1, notice(device), stream_id)
    assert not of.has_room(R1, notice("D"))
    of.drop(R1, notice("A"))
    assert 2 == of.pairs
    assert of.has_room(R1, notice("D"))
    store(of, R1, notice("D"), 4)

    assert 3 == of.pairs
    assert not of.has_room(R1, notice("E"))


def test_a_mailbox_that_gets_a_notice_is_the_last_to_go() -> None:
    """However long it was not used before."""
    of = index(pairs=2)
    learn(of, R1, (1, notice("A")))
    learn(of, R2, (2, notice("A")))
    store(of, R1, notice("B"), 3)

    assert of.knows(R1)
    assert not of.knows(R2)


def test_the_only_mailbox_stays_whatever_is_stored_during_readings() -> None:
    """What is in a mailbox that is being read cannot be evicted yet."""
    of = index(pairs=2)
    learn(of, R1, (1, notice("A")))
    of.begin_reading(R2)
    store(of, R2, notice("A"), 2)
    store(of, R1, notice("B"), 3)

    assert of.knows(R1)


def test_what_is_stored_during_a_reading_pushes_out_others() -> None:
    """The total holds while mailboxes are being read."""
    of = index(pairs=2)
    learn(of, R1, (1, notice("A")))
    of.begin_reading(R2)
    for stream_id, device in enumerate("ABC", start=2):
        store(of, R2, notice(device), stream_id)

    assert not of.knows(R1)
    assert of.pairs == 2


def test_every_pair_that_an_olm_message_rearms_is_counted() -> None:
    """Of a key with several pairs, queued and in flight."""
    of = index()
    learn(of, R1)
    for stream_id, device in enumerate("ABC"):
        store(of, R1, notice(device), stream_id)
    of.begin(R1, notice("D"), 0)
    of.begin(R2, notice("E"), 0)

    assert 4 == of.rearm_device(R1, "@s:hs", "key")


def test_what_is_in_flight_is_rearmed_by_its_own_key_and_counted_once() -> None:
    """Each of them, and no other."""
    of = index()
    for device in "AB":
        of.begin(R1, notice(device), 0)
    of.begin(R1, notice("C", key="other"), 0)

    assert [2, 0] == [of.rearm_device(R1, "@s:hs", "key") for _ in range(2)]
    assert 1 == of.rearm_device(R1, "@s:hs", "other")


def test_where_nothing_is_remembered_an_olm_message_rearms_nothing() -> None:
    """Of the recipient, or of the sender."""
    of = index()
    assert 0 == of.rearm_user("@r:hs", "@s:hs", ["key"])
    of.begin(R1, notice(), 0)

    assert 0 == of.rearm_user("@r:hs", "@t:hs", ["key"])
    assert 0 == of.rearm_user("@q:hs", "@s:hs", ["key"])


def test_what_is_in_flight_elsewhere_is_not_in_the_way_of_rearming() -> None:
    """An Olm message to a device for which nothing is on its way."""
    of = index()
    learn(of, R1)
    store(of, R1, notice(), 1)
    of.begin(R2, notice("B"), 0)

    assert 1 == of.rearm_device(R1, "@s:hs", "key")


def test_an_olm_message_for_two_keys_counts_the_pairs_of_both() -> None:
    """One message may be encrypted for many devices of the sender."""
    of = index()
    learn(of, R1)
    store(of, R1, notice("A", key="a"), 1)
    store(of, R1, notice("B", key="b"), 2)

    assert 2 == of.rearm_user("@r:hs", "@s:hs", ["a", "b"])


def test_each_olm_message_rearms_anew() -> None:
    """Also a notice that came after the one before, while another still waits."""
    of = index()
    learn(of, R1)
    store(of, R1, notice("A"), 1)
    of.rearm_user("@r:hs", "@s:hs", ["key"])
    store(of, R1, notice("B"), 2)
    assert not queued(of, R1, notice("B")).rearmed
    of.rearm_user("@r:hs", "@s:hs", ["key"])

    assert queued(of, R1, notice("B")).rearmed


def test_what_is_in_the_way_goes_if_it_is_still_the_same_row() -> None:
    """A newer notice of the pair may have been stored meanwhile."""
    of = index(pairs_per_mailbox=2)
    learn(of, R1)
    store(of, R1, notice("A"), 1)
    store(of, R1, notice("B"), 2)
    first, second = of.in_the_way_of(R1, notice("C"), 2)
    store(of, R1, notice("B"), 3)
    for occupant in (first, second, first):
        of.drop_occupant(occupant)

    assert (R1, 1) == (first.mailbox, first.stream_id)
    assert of.queued(R1, notice("A")) is None
    assert 3 == queued(of, R1, notice("B")).stream_id
    assert 1 == of.pairs == of.rearm_user("@r:hs", "@s:hs", ["key"])
    of.forget(R1)
    of.drop_occupant(second)
    of.drop(R1, notice("B"))


def test_of_what_is_in_the_way_the_oldest_comes_first() -> None:
    """However many there are, no more than can be looked up."""
    of = index(pairs_per_sender=9)
    learn(of, R1)
    for stream_id in range(9):
        store(of, R1, notice(str(stream_id)), (stream_id * 4) % 9)

    in_the_way = of.in_the_way_of(R1, notice("C"), 3)

    assert [0, 1, 2] == [each.stream_id for each in in_the_way]


def test_what_an_olm_message_rearms_keeps_all_else() -> None:
    """And so does what was seen to be queued."""
    of = index()
    learn(of, R1)
    for stream_id, device in enumerate("ABC", start=1):
        watch = of.begin(R1, notice(device), 7)
        watch.undelivered_s = 2.5
        of.settle(watch, stream_id)
    of.rearm_device(R1, "@s:hs", "key")
    of.note_undelivered(R1, notice("B"), 3.9)
    of.note_undelivered(R1, notice("B"), 2.0)

    expected = Remembered(1, True, False, True, True, 7, 2)
    assert expected == queued(of, R1, notice("A"))
    second = expected._replace(stream_id=2, undelivered_s=3)
    assert second == queued(of, R1, notice("B"))


def test_when_a_row_was_seen_is_noted_where_it_is_remembered() -> None:
    """It may have been forgotten meanwhile."""
    of = index()
    of.note_undelivered(R1, notice(), 3.0)
    learn(of, R1)
    of.note_undelivered(R1, notice(), 3.0)

    assert of.queued(R1, notice()) is None


def test_seconds_beyond_what_can_be_noted_are_earlier() -> None:
    """So a hold ends early."""
    of = index()
    learn(of, R1)
    store(of, R1, notice(), 1)
    of.note_undelivered(R1, notice(), 1e12)

    assert (1 << 32) - 1 == queued(of, R1, notice()).undelivered_s


def test_two_pairs_at_one_place_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """However unlikely that is."""
    of = index(pairs_per_sender=3)
    learn(of, R1)
    make = Fingerprints._make

    def crowded(self: Fingerprints, what: Notice) -> Fingerprint:
        return make(self, what)._replace(place=place_of("@s:hs"))

    monkeypatch.setattr(Fingerprints, "_make", crowded)
    for stream_id, device in enumerate("ABC"):
        store(of, R1, notice(device), stream_id)

    of.note_undelivered(R1, notice("B"), 7.0)
    stored = [queued(of, R1, notice(device)) for device in "ABC"]
    assert [(0, 0), (1, 7), (2, 0)] == [
        (each.stream_id, each.undelivered_s) for each in stored
    ]
    assert of.queued(R1, notice("D")) is None
    assert not of.has_room(R1, notice("D"))
    of.drop_occupant(of.in_the_way_of(R1, notice("D"), 3)[0])
    of.drop(R1, notice("B"))
    assert [False, False, True] == [
        of.queued(R1, notice(device)) is not None for device in "ABC"
    ]

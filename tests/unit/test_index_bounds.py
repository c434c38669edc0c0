"""What the index counts, and what makes way for what."""

from __future__ import annotations

from tests.unit.test_index import R1, R2, index, learn, notice, queued, store


def test_a_mailbox_that_is_not_known_has_room_for_nothing() -> None:
    """Its first reading comes before."""
    of = index()

    assert not of.has_room(R1, notice().pair)
    assert [] == of.in_the_way_of(R1, notice().pair)


def test_a_device_that_does_not_exist_is_not_remembered_later_either() -> None:
    """Its reading ended, so nothing that is stored for it counts as queued."""
    of = index()
    of.end_reading(R1, of.begin_reading(R1), None)
    store(of, R1, notice(), 5)

    assert (0, 0) == (of.pairs, len(of))
    assert of.queued(R1, notice().pair) is None


def test_what_a_sender_has_is_in_its_own_way_first() -> None:
    """Nobody makes room for it at the cost of others."""
    of = index(pairs_per_sender=2)
    learn(of, R1)
    for stream_id, device in enumerate("AB"):
        store(of, R1, notice(device), stream_id)
    store(of, R1, notice("A", sender="@t:hs"), 5)

    in_the_way = of.in_the_way_of(R1, notice("C").pair)

    assert [0, 1] == [watch.stream_id for watch in in_the_way]


def test_what_everybody_has_is_in_the_way_of_a_new_sender() -> None:
    """Where the mailbox is full."""
    of = index(pairs_per_mailbox=2)
    learn(of, R1)
    store(of, R1, notice("A"), 1)
    store(of, R1, notice("B", sender="@t:hs"), 2)

    in_the_way = of.in_the_way_of(R1, notice("C", sender="@u:hs").pair)

    assert [1, 2] == [watch.stream_id for watch in in_the_way]


def test_what_is_dropped_makes_room_for_exactly_one() -> None:
    """In its mailbox and in the total."""
    of = index(pairs_per_mailbox=3)
    learn(of, R1)
    for stream_id, device in enumerate("ABC"):
        store(of, R1, notice(device), stream_id)
    assert not of.has_room(R1, notice("D").pair)
    of.drop(R1, notice("A").pair)
    assert 2 == of.pairs
    assert of.has_room(R1, notice("D").pair)
    store(of, R1, notice("D"), 4)

    assert 3 == of.pairs
    assert not of.has_room(R1, notice("E").pair)


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

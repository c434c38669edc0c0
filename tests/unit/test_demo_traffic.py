"""The demonstration's traffic."""

from __future__ import annotations

from collections import Counter

from synapse_withheld.demo.traffic import (
    ENCRYPTED,
    FRIEND,
    LOSES_KEYS,
    PER_SESSION,
    REPEATS,
    ROUNDS,
    TO_ALL,
    WITHHELD,
    Send,
    Traffic,
    make_traffic,
)

NOTICES = 250


def make() -> Traffic:
    """Return a little traffic."""
    return make_traffic("withheld.test", notices=NOTICES)


def of(traffic: Traffic, sender: str) -> list[Send]:
    """Return a sender's notices."""
    return [send for send in traffic.notices if send.sender == sender]


def test_shape_follows_from_the_seed() -> None:
    """Who sends what kind of message when is the same each time; keys are not."""

    def shape(traffic: Traffic) -> list[list[tuple[str, str, int]]]:
        return [
            [
                (send.sender, send.device_id, len(str(send.content)))
                for lane in each.lanes
                for send in lane
            ]
            for each in traffic.rounds
        ]

    first, second = make(), make()
    assert shape(first) == shape(second)
    assert first.notices != second.notices


def test_all_notices_are_sent_by_all_four() -> None:
    """The shares of rounds and senders add up."""
    counts = Counter(send.sender for send in make().notices)
    assert set(counts) == {REPEATS, LOSES_KEYS, PER_SESSION, TO_ALL}
    assert sum(counts.values()) == NOTICES


def test_each_lane_is_of_one_sender() -> None:
    """Or the order of its notices would differ between servers."""
    for each in make().rounds:
        for lane in each.lanes:
            assert len({send.sender for send in lane}) == 1


def test_senders_differ_as_clients_do() -> None:
    """Each of the four repeats itself in its own way."""
    traffic = make()
    assert len({str(send.content) for send in of(traffic, REPEATS)}) == 1
    keys = {send.content["sender_key"] for send in of(traffic, LOSES_KEYS)}
    assert len(keys) > 1
    scopes = {send.content["session_id"] for send in of(traffic, PER_SESSION)}
    assert len(scopes) == len(of(traffic, PER_SESSION))
    for send in of(traffic, TO_ALL):
        assert send.device_id == "*"
        assert "from_device" not in send.content


def test_a_room_key_follows_every_round() -> None:
    """So the last one is queued behind everything else; one comes from a sender."""
    traffic = make()
    assert {send.message_type for send in traffic.notices} == {WITHHELD}
    assert {send.message_type for send in traffic.room_keys} == {ENCRYPTED}
    senders = Counter(send.sender for send in traffic.room_keys)
    assert senders == {FRIEND: ROUNDS, REPEATS: 1}

"""The demonstration's traffic."""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.demo.traffic import (
    COLLEAGUE,
    FRIEND,
    LEGACY,
    LOSES_KEYS,
    PER_SESSION,
    REARMED,
    REPEATS,
    ROUNDS,
    TO_ALL,
    Send,
    Traffic,
    make_traffic,
)
from tests.harness.clients.messages import ENCRYPTED, OLDER_WITHHELD, WITHHELD

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


def test_all_notices_are_sent_by_all_six() -> None:
    """The shares of rounds and senders add up."""
    counts = Counter(send.sender for send in make().notices)
    assert set(counts) == {
        REPEATS,
        LOSES_KEYS,
        PER_SESSION,
        TO_ALL,
        LEGACY,
        REARMED,
    }
    assert sum(counts.values()) == NOTICES


def test_each_lane_is_of_one_sender() -> None:
    """Or the order of its notices would differ between servers."""
    for each in make().rounds:
        for lane in each.lanes:
            assert len({send.sender for send in lane}) == 1


def test_senders_differ_as_clients_do() -> None:
    """Each of the six repeats itself in its own way."""
    traffic = make()
    for sender in (REPEATS, REARMED, TO_ALL):
        assert len({str(send.content) for send in of(traffic, sender)}) == 1
    keys = {send.content["sender_key"] for send in of(traffic, LOSES_KEYS)}
    assert len(keys) > 1
    scopes = {send.content["session_id"] for send in of(traffic, PER_SESSION)}
    assert len(scopes) == len(of(traffic, PER_SESSION))
    assert {send.device_id for send in of(traffic, TO_ALL)} == {"*"}


def test_legacy_client_numbers_notices_of_both_types() -> None:
    """No two have the same number, and none names its device."""
    sent = of(make(), LEGACY)
    assert len({send.content["org.matrix.msgid"] for send in sent}) == len(sent)
    assert not any("from_device" in send.content for send in sent)
    assert {send.message_type for send in sent} == {WITHHELD, OLDER_WITHHELD}


def test_a_room_key_follows_every_round() -> None:
    """So the last one is queued behind everything else."""
    traffic = make()
    assert {send.message_type for send in traffic.room_keys} == {ENCRYPTED}
    senders = Counter(send.sender for send in traffic.room_keys)
    assert senders == {FRIEND: ROUNDS, COLLEAGUE: ROUNDS, REARMED: ROUNDS // 3}


def test_only_one_sender_re_arms_its_notices() -> None:
    """The key of a room key's sender is in no other sender's notices."""
    traffic = make()
    keys = defaultdict(set)
    for send in traffic.notices:
        keys[send.content["sender_key"]].add(send.sender)
    with_session = {send.content["sender_key"] for send in traffic.room_keys}
    assert [keys[key] for key in with_session if key in keys] == [{REARMED}]

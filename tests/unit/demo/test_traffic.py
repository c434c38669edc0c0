"""The demonstration's traffic."""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.demo.traffic import (
    COLLEAGUE,
    FRIEND,
    FRIENDS,
    REARMED,
    ROUNDS,
    SENDERS,
    Traffic,
    make_traffic,
)

NOTICES = 250


def shape(traffic: Traffic) -> list[tuple[int, str, str, int]]:
    """Return who sends what kind of message when."""
    return [
        (number, send.sender, send.device_id, len(str(send.content)))
        for number, each in enumerate(traffic.rounds)
        for lane in (*each.lanes, each.room_keys)
        for send in lane
    ]


def test_all_that_is_sent_follows_from_the_seed() -> None:
    """By all senders, each in a lane of its own; keys are others each time."""
    first, second = (make_traffic("withheld.test", NOTICES) for _ in range(2))
    assert shape(first) == shape(second)
    assert first.notices != second.notices
    counts = Counter(send.sender for send in first.notices)
    assert counts.keys() == set(SENDERS) - set(FRIENDS)
    assert sum(counts.values()) == NOTICES
    lanes = [lane for each in first.rounds for lane in each.lanes]
    assert all(len({send.sender for send in lane}) == 1 for lane in lanes)


def test_only_one_sender_re_arms_its_notices() -> None:
    """The key of a room key's sender is in no other sender's notices."""
    traffic = make_traffic("withheld.test", NOTICES)
    senders = Counter(send.sender for send in traffic.room_keys)
    assert senders == {FRIEND: ROUNDS, COLLEAGUE: ROUNDS, REARMED: ROUNDS // 3}
    keys = defaultdict(set)
    for send in traffic.notices:
        keys[send.content["sender_key"]].add(send.sender)
    with_session = {send.content["sender_key"] for send in traffic.room_keys}
    assert [keys[key] for key in with_session if key in keys] == [{REARMED}]

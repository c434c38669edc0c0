"""Whatever of the module raises, messages are stored, in order, and it goes on."""

from __future__ import annotations

from unittest import mock

import pytest

from synapse_withheld.delivery import settling
from tests.model.play import NOTICE, Play
from tests.model.telling import Telling, plays


@pytest.mark.parametrize("content", ["notice", "notice.new"])
@pytest.mark.parametrize(
    "methods",
    [
        *("metrics.confirmed_in", "metrics.decided_in", "metrics.decision"),
        *("inbox.sort", "inbox.memory.insert", "inbox.memory.learn"),
        *("settler.settle", "settler.believe_again", "settler.take_out"),
        *("confirmer.add", "confirmer.release", "metrics.failure inbox.sort"),
        "settler.believe_again settler.forget",
    ],
)
def test_what_raises_loses_no_message_and_leaves_nothing_in_flight(
    monkeypatch: pytest.MonkeyPatch, methods: str, content: str
) -> None:
    play = Play()
    tell = Telling(play, monkeypatch).tell
    tell(f"send notice; fail {methods}; begin {content}; rest; mend")
    batch = play.batches[-1]
    assert batch.ended is not None
    assert batch.stream_id or content == "notice"

    tell("send notice.newest; send notice.newest")
    # What could not even be forgotten may stay in flight, and is believed no more.
    assert play.batches[-1].left_out or "settler.forget" in methods


test_what_raises_overtakes_nothing = plays()("""
    when an Olm message re-arms
        send notice; begin notice; fail rearming.passed; begin olm; handed: 1 2 3
    when a notice is sorted
        send notice; begin notice; fail inbox.sort; begin notice.new; handed: 1 2 3
    when a duplicate cannot wait
        send notice; send notice.key.S2; begin notice
        fail confirmer.add; begin notice.key.S2; handed: 1 2 3 4; mend
""")

test_where_learning_one_mailbox_fails_the_others_are_learned = plays()("""
    of a few
        add D1-D2; fail-once inbox.memory.learn; send notice to D1-D2
        unknown: D1 R; send notice to D1-D2; unknown: R
    of many
        add D1-D12; fail-once inbox.memory.learn; send notice to D1-D12
        unknown: D1 R; send notice to D1-D12; unknown: R
    of many that are looked over
        add D1-D12; begin notice to D1-D12; until learn; answer learn
        until look-over; fail-once inbox.memory.learn; rest
        unknown: D4 R; send notice to D1-D12; unknown: R
""")


def test_a_request_to_many_devices_has_its_costs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To all of them, all others are doubted in one step; what it says is encoded."""
    many = [f"D{number}" for number in range(300)]
    play = Play(devices=many)
    for some in (many[:150], many[150:]):
        play.send(NOTICE, some)
    with mock.patch.object(play.memory, "doubt", wraps=play.memory.doubt) as doubt:
        play.send(NOTICE, "*")
    # When it is sorted, and once it is stored.
    assert 3 == doubt.call_count
    assert all([3] == play.queued(device) for device in many)

    stored_size = mock.Mock(return_value=1)
    monkeypatch.setattr(settling, "stored_size", stored_size)
    for _ in range(2):
        collapsed = play.send(NOTICE, many[:200])
    assert 200 == len(collapsed.left_out)
    assert 1 == stored_size.call_count

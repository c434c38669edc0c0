"""Who sends and who receives notices, counted by the module at work."""

from __future__ import annotations

from synapse_withheld.operators.heavy_hitters import Count
from synapse_withheld.operators.tally import CAPACITY, Tally
from synapse_withheld.rules.content import MAX_ID_LENGTH
from tests.harness.messages import make_key, make_notice
from tests.model.play import RECIPIENT, Play

NOTICE = make_notice(sender_key=make_key("s"), from_device="S")


def test_notices_count_for_their_sender_and_their_mailbox() -> None:
    """Whatever is decided about them, and by minute."""
    play = Play()
    for _ in range(3):
        play.send(NOTICE)

    assert [Count(("no_olm", "@s:here"), 3, 0)] == play.tally.senders.most(5)
    assert [Count(("no_olm", (RECIPIENT, "R")), 3, 0)] == play.tally.recipients.most(5)
    assert 1 == play.tally.history.of("deliver")[-1]
    assert 2 == play.tally.history.of("collapse")[-1]


def test_invented_names_take_no_more_room_than_real_ones() -> None:
    tally = Tally(lambda: 0.0)
    for number in range(2 * CAPACITY):
        sender = f"@{number}" + "s" * 10_000
        tally.came_from("no_olm", sender)
        tally.came_for("no_olm", ("@r:here", f"{number}" * 10_000))

    assert CAPACITY == len(tally.senders.most(2 * CAPACITY))
    for each in tally.recipients.most(2 * CAPACITY):
        assert MAX_ID_LENGTH >= max(len(part) for part in each.key[1])

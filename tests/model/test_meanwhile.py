"""What happens to a mailbox while it is learned or tidied."""

from __future__ import annotations

from tests.model.play import NOTICE, Play

LOOK_OVER, LEARN = "withheld_read_ends", "withheld_read_mailboxes"
OTHER = {**NOTICE, "from_device": "another"}
MANY = [f"D{number}" for number in range(12)]
PARTS = [MANY[:5], MANY[5:10], MANY[10:]]


def test_what_is_stored_while_a_crowd_is_looked_over_makes_older_copies_go() -> None:
    """The only row of a mailbox was seen, and has a newer copy by the answer."""
    play = Play(devices=MANY)
    play.begin(NOTICE, "*")
    play.until(LOOK_OVER).carry_out()
    play.step(LOOK_OVER).hangs = True
    play.begin(NOTICE, MANY[-1])
    play.hs.take_all_steps()
    play.step(LOOK_OVER).hangs = False
    play.hs.come_to_rest()

    assert [2] == play.queued(MANY[-1])
    assert play.knows(MANY[-1])

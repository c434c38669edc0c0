"""Two hostile senders at once leave an honest one what it has without them.

Simulated with a clock: each statement takes its time in one of the database's threads.
"""

from __future__ import annotations

import pytest

from synapse_withheld.delivery.confirming import confirmer
from tests.model.homeserver import ModelHomeserver, Step
from tests.model.play import CONFIRM, Play
from tests.model.telling import Telling

FRIEND = "@friend:here"
TARGETS = "@accomplice:here/H1-H60"

# What happens, and every how many seconds.
HAPPENS = {
    0.02: f"begin notice to {TARGETS} by @hostile:here",
    0.25: "; ".join(
        f"begin notice to {devices} by @made-up-{{0}}:there"
        for devices in ("I{0}000-I{0}249", "I{0}250-I{0}499", "@accomplice:here/H1")
    ),
    0.2: "begin notice by @honest:here",
    0.5: f"""
        add {FRIEND}/N{{0}}; fill notice to {FRIEND}/N{{0}} by @honest:here
        begin notice to {FRIEND}/N{{0}} by @honest:here
    """,
}

# How long what is asked takes, and how long it goes on, in seconds.
TAKES_S = {CONFIRM: 0.1, "withheld_read_mailboxes": 0.02}
OTHER_S = 0.002
LONG_S = 3.0


def serve(hs: ModelHomeserver, threads: int) -> None:
    """Let the database answer by itself."""
    free_at_s = [0.0] * threads

    def answer_in_time(step: Step) -> None:
        now_s = hs.clock.seconds()
        thread = free_at_s.index(min(free_at_s))
        begins_s = max(now_s, free_at_s[thread])
        free_at_s[thread] = begins_s + TAKES_S.get(step.name, OTHER_S)
        hs.clock.callLater(free_at_s[thread] - now_s, hs.answer, step)

    hs.on_step = answer_in_time


@pytest.mark.parametrize("threads", [1, 10])
def test_an_honest_sender_is_not_held_up_by_two_hostile_ones(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Its duplicates collapse, and its mailboxes are learned.

    One hostile sender repeats notices to many devices all the time; another server
    makes up users and devices, more than can be learned.
    """
    # A third of what one of them repeats while a statement is answered.
    monkeypatch.setattr(confirmer, "MOST_ROWS", 20)
    monkeypatch.setattr(confirmer, "MOST_LOOKED_AT", 100)
    play = Play()
    hs, told = play.hs, Telling(play, monkeypatch)
    serve(hs, threads)
    told.tell(f"add {TARGETS}; begin notice to {TARGETS} by @hostile:here")
    told.tell("begin notice by @honest:here; wait 1")
    for every_s, happens in HAPPENS.items():
        for number in range(round(LONG_S / every_s)):
            script = happens.format(number)
            hs.clock.callLater((number + 1) * every_s, told.tell, script)
    hs.pass_time(LONG_S)
    honest = [each for each in play.batches if each.sender == "@honest:here"]
    duplicates = [each for each in honest[1:] if FRIEND not in each.users]
    hs.pass_time(2.5)

    assert 14 <= len(duplicates)
    assert all(each.left_out for each in duplicates)
    assert 0.4 >= max(each.handed_s - each.came_s for each in duplicates)
    # All of its friend's mailboxes are tidy by now.
    tidied = [play.queued(device, FRIEND) for device in hs.devices(FRIEND)]
    assert 6 * [1] == [len(rows) for rows in tidied]
    # What does not fit into the share of the hostile one is left for the sweep.
    hs.come_to_rest()
    assert {user_id for user_id, *_ in play.sweep()} <= {"@accomplice:here"}

"""Two hostile senders at once leave an honest one what it has without them.

Simulated with a clock: each statement takes its time in one of the database's threads.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.homeserver import ModelHomeserver, Step
from tests.model.play import CONFIRM, NOTICE, WITHHELD, Play

HONEST = "@honest:here"
ACCOMPLICE = "@accomplice:here"
FRIEND = "@friend:here"
TARGETS = [f"H{number}" for number in range(60)]

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
def test_an_honest_sender_is_not_held_up_by_two_hostile_ones(threads: int) -> None:
    """Its duplicates collapse, and its mailboxes are learned.

    One hostile sender repeats notices to many devices all the time; another server
    makes up users and devices, more than can be learned.
    """
    play = Play()
    hs = play.hs
    serve(hs, threads)
    hostile: dict[str, Any] = {"to_user": ACCOMPLICE, "sender": "@hostile:here"}
    for target in TARGETS:
        hs.add_device(ACCOMPLICE, target)
        play.begin(NOTICE, target, **hostile)
    play.begin(NOTICE, sender=HONEST)
    hs.pass_time(1)
    met_s: dict[str, float] = {}
    tidied_s: dict[str, float] = {}

    def make_up(number: int) -> None:
        sender = f"@made-up-{number}:there"
        for part in range(4):
            devices = [f"I{number}-{part}-{device}" for device in range(250)]
            play.begin(NOTICE, devices, sender=sender)
        play.begin(NOTICE, TARGETS[0], to_user=ACCOMPLICE, sender=sender)

    def meet(number: int) -> None:
        device = f"new {number}"
        hs.add_device(FRIEND, device)
        row = {"content": NOTICE, "type": WITHHELD, "sender": HONEST}
        hs.put((FRIEND, device), row)
        play.begin(NOTICE, device, to_user=FRIEND, sender=HONEST)
        met_s[device] = hs.clock.seconds()

    def look(_: int) -> None:
        for device, at_s in met_s.items():
            if 1 == len(play.queued(device, FRIEND)):
                tidied_s.setdefault(device, hs.clock.seconds() - at_s)

    for every_s, happens in (
        (0.02, lambda _: play.begin(NOTICE, TARGETS, **hostile)),
        (0.25, make_up),
        (0.2, lambda _: play.begin(NOTICE, sender=HONEST)),
        (0.5, meet),
        (0.1, look),
    ):
        for number in range(round(LONG_S / every_s)):
            hs.clock.callLater((number + 1) * every_s, happens, number)
    hs.pass_time(LONG_S + 2)

    honest = [each for each in play.batches if each.sender == HONEST]
    duplicates = [each for each in honest[1:] if FRIEND not in each.users]
    assert 15 == len(duplicates)
    assert all(each.left_out for each in duplicates)
    assert 0.4 >= max(each.handed_s - each.came_s for each in duplicates)
    assert 6 == len(met_s) == len(tidied_s)
    assert 1.5 >= max(tidied_s.values())

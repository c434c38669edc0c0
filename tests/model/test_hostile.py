"""Two hostile senders at once leave an honest one what it has without them.

Simulated with a clock: each statement takes its time in one of the database's threads.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.door import Batch
from tests.model.homeserver import Step
from tests.model.play import CONFIRM, NOTICE, WITHHELD, Play

HONEST = "@honest:here"
HOSTILE = "@hostile:here"

# How long what is asked takes, in seconds.
CONFIRM_S = 0.1
LEARN_S = 0.02
OTHER_S = 0.002

# How long it goes on, in seconds.
LONG_S = 4.0


class Simulation:
    """A database that answers by itself, and what is sent at which intervals."""

    def __init__(self, threads: int) -> None:
        self.play = Play()
        self.hs = self.play.hs
        self.free_at = [0.0] * threads
        self.hs.on_step = self._serve

    def _serve(self, step: Step) -> None:
        takes_s = {CONFIRM: CONFIRM_S, "withheld_read_mailboxes": LEARN_S}
        thread = min(range(len(self.free_at)), key=self.free_at.__getitem__)
        now_s = self.hs.clock.seconds()
        begin_s = max(now_s, self.free_at[thread])
        self.free_at[thread] = begin_s + takes_s.get(step.name, OTHER_S)
        self.hs.clock.callLater(self.free_at[thread] - now_s, self.hs.answer, step)

    def every(self, seconds: float, send: Any) -> None:
        """Send something again and again, until it is over."""

        def again(number: int) -> None:
            send(number)
            if self.hs.clock.seconds() < LONG_S:
                self.hs.clock.callLater(seconds, again, number + 1)

        self.hs.clock.callLater(seconds, again, 0)


@pytest.mark.parametrize("threads", [1, 10])
def test_an_honest_sender_is_not_held_up_by_two_hostile_ones(threads: int) -> None:
    """Its duplicates collapse, and its mailboxes are learned.

    One hostile sender repeats notices to many devices all the time; another server
    makes up users and devices, more than can be learned.
    """
    simulation = Simulation(threads)
    play, hs = simulation.play, simulation.hs
    targets = [f"H{number}" for number in range(60)]
    for target in targets:
        hs.add_device("@accomplice:here", target)
        play.begin(NOTICE, target, to_user="@accomplice:here", sender=HOSTILE)
    play.begin(NOTICE, sender=HONEST)
    hs.pass_time(1)
    duplicates: list[Batch] = []
    met_s: dict[str, float] = {}
    tidied_s: dict[str, float] = {}

    def flood(_: int) -> None:
        play.begin(NOTICE, targets, to_user="@accomplice:here", sender=HOSTILE)

    def make_up(number: int) -> None:
        sender = f"@made-up-{number}:there"
        for part in range(4):
            edu = ("there", f"{number} {part}")
            devices = [f"I{number}-{part}-{device}" for device in range(250)]
            play.begin(NOTICE, devices, sender=sender, edu=edu)
        edu = ("there", f"known {number}")
        user_id = "@accomplice:here"
        play.begin(NOTICE, targets[0], to_user=user_id, sender=sender, edu=edu)

    def repeat(_: int) -> None:
        duplicates.append(play.begin(NOTICE, sender=HONEST))

    def meet(number: int) -> None:
        device = f"new {number}"
        hs.add_device("@friend:here", device)
        hs.put(("@friend:here", device), old)
        play.begin(NOTICE, device, to_user="@friend:here", sender=HONEST)
        met_s[device] = hs.clock.seconds()

    def look(_: int) -> None:
        for device, at_s in met_s.items():
            if 1 == len(play.queued(device, "@friend:here")):
                tidied_s.setdefault(device, hs.clock.seconds() - at_s)

    old = {"content": NOTICE, "type": WITHHELD, "sender": HONEST}
    simulation.every(0.02, flood)
    simulation.every(0.25, make_up)
    simulation.every(0.2, repeat)
    simulation.every(0.5, meet)
    simulation.every(0.1, look)
    hs.pass_time(LONG_S + 2)

    assert 15 <= len(duplicates)
    assert all(each.left_out for each in duplicates)
    assert 0.4 >= max(each.handed_s - each.came_s for each in duplicates)
    assert 6 <= len(met_s)
    assert met_s.keys() == tidied_s.keys()
    assert 1.5 >= max(tidied_s.values())

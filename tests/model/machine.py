"""What random plays have in common: answers in any order, restarts and what is held."""

from __future__ import annotations

import os

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.model.play import RECIPIENT, Play
from tests.model.tables import Place

DEVICES: list[Place] = [(RECIPIENT, "R"), (RECIPIENT, "R2")]
SENDERS = ["@s:here", "@t:there"]

senders = st.sampled_from(SENDERS)
devices = st.sampled_from(DEVICES)


def cases(examples: int = 300, steps: int = 60) -> settings:
    """Return how something random is run; `EXAMPLES` says how often."""
    return settings(
        max_examples=int(os.environ.get("EXAMPLES", examples)),
        stateful_step_count=steps,
        deadline=None,
        # A gate has to say the same each time; elsewhere new sequences are tried.
        derandomize=os.environ.get("CI") == "true",
    )


class Machine(RuleBasedStateMachine):
    """The database and the module, one step at a time."""

    def begin(self, play: Play) -> None:
        Play.made.pop()
        self.play, self.hs = play, play.hs

    @rule(which=st.integers(0, 7))
    def answer(self, which: int) -> None:
        """Let the database answer one of the waiting statements, or time pass."""
        self.hs.go_on(which)

    @rule(which=st.integers(0, 1))
    def carry_out(self, which: int) -> None:
        """Carry out a statement of the module that is answered later."""
        for step in self.hs.ours()[which : which + 1]:
            step.carry_out()

    @rule()
    def rest(self) -> None:
        self.hs.come_to_rest()

    @rule()
    def restart(self) -> None:
        """Forget all that was seen."""
        self.rest()
        self.play.load()

    @invariant()
    def nothing_waits_or_overtakes(self) -> None:
        """I2, and I4: at most two statements of ours at once."""
        self.play.check()

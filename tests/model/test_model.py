"""Any sequence of events keeps the invariants, however the module is configured."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import initialize, rule

from tests.harness.messages import WITHHELD, make_notice
from tests.model.faults import LostError
from tests.model.machine import (
    DEVICES,
    DEVICES_ABROAD,
    SENDERS,
    Machine,
    cases,
    settings_of_module,
)

TestCalm = Machine.TestCase
TestCalm.settings = cases()


class Faulty(Machine):
    """With late answers, statements that fail or hang, and at times a crowded memory.

    What is left behind then, the next notice for each mailbox tidies.
    """

    @initialize(setting=settings_of_module, max_pairs=st.sampled_from([30, 1000]))
    def start(self, setting: dict[str, Any], max_pairs: int) -> None:
        """Load the module, where there is little room or enough."""
        super().start({**setting, "max_pairs": max_pairs})

    @rule(which=st.integers(0, 1), carried_out=st.booleans())
    def fail(self, which: int, carried_out: bool) -> None:
        """Let a statement of the module fail, before or after it was carried out."""
        for step in self.hs.ours()[which : which + 1]:
            self.hs.answer(step, LostError(), carried_out=carried_out)

    @rule(which=st.integers(0, 1))
    def hang(self, which: int) -> None:
        """Let one hang until it is answered late."""
        for step in self.hs.ours()[which : which + 1]:
            step.hangs = True

    @rule()
    def answer_late(self) -> None:
        """Let what hangs go on."""
        for step in self.hs.steps:
            step.hangs = False

    @rule(seconds=st.sampled_from([1.5, 6.0]))
    def wait_long(self, seconds: float) -> None:
        """Let patience end, and rests."""
        self.hs.pass_time(seconds)

    @rule()
    def rest(self) -> None:
        """Let everything come to rest, whatever was lost on the way."""
        self.answer_late()
        self.hs.come_to_rest()

    def teardown(self) -> None:
        """Go on without faults: another sender's notice has each learned.

        In the same process: what it takes for learned has nothing left in it.
        """
        if hasattr(self, "play"):
            self.rest()
            self.hs.pass_time(20)
            probe = make_notice("key-1", "PROBE")
            for device in [*DEVICES, *DEVICES_ABROAD]:
                self.send(SENDERS[0], WITHHELD, {device: probe})
                self.hs.come_to_rest()
            self.reference.check_at_rest(anything_lost=True)
        super().teardown()


TestFaulty = Faulty.TestCase
TestFaulty.settings = cases()

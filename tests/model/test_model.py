"""Any sequence of events keeps the invariants, however the module is configured."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import initialize, rule

from synapse_withheld.config import Config
from tests.model.faults import lost
from tests.model.machine import (
    DEVICES,
    DEVICES_ABROAD,
    SENDERS,
    SETTINGS,
    Machine,
    Setting,
    cases,
    notice,
)
from tests.model.redundancy import WITHHELD

TestCalm = Machine.TestCase
TestCalm.settings = cases(steps=60)


class Faulty(Machine):
    """With late answers, statements that fail or hang, and at times a crowded memory.

    What is left behind then, the next notice for each mailbox tidies.
    """

    anything_lost = True
    is_crowded = False

    @initialize(setting=SETTINGS, is_crowded=st.booleans())
    def start(self, setting: Setting, is_crowded: bool) -> None:
        """Load the module, where there is little room or enough."""
        self.is_crowded = is_crowded
        super().start(setting)

    def config(self) -> Config:
        """Return how it is configured."""
        return self.setting.config(max_pairs=30 if self.is_crowded else 1000)

    @rule(which=st.integers(0, 1), carried_out=st.booleans())
    def fail(self, which: int, carried_out: bool) -> None:
        """Let a statement of the module fail, before or after it was carried out."""
        for step in self.hs.ours()[which : which + 1]:
            self.hs.answer(step, lost(), carried_out=carried_out)

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

        In the same process, where there is room; what it takes for learned has nothing
        left in it.
        """
        if hasattr(self, "traffic"):
            self.rest()
            self.hs.pass_time(20)
            if self.is_crowded:
                self.is_crowded = False
                self.load()
            probe = notice("key-1", "PROBE", None)
            self.send(SENDERS[0], WITHHELD[0], dict.fromkeys(DEVICES, probe))
            for _, device_id in DEVICES_ABROAD:
                self.send_abroad(WITHHELD[0], [device_id], probe)
        super().teardown()


TestFaulty = Faulty.TestCase
TestFaulty.settings = cases(steps=60)

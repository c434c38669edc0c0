"""Any sequence of events keeps the invariants, however the module is configured."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
from hypothesis import event, settings
from hypothesis.stateful import precondition, rule

from tests.model.door import Batch
from tests.model.faults import lost
from tests.model.machine import DEVICES, DEVICES_ABROAD, SENDERS, Machine, notice
from tests.model.redundancy import WITHHELD
from tests.model.tables import Place, Rows

HOLD_S = 3600.0
SESSION = {"repeat": "session", "session_hold_ms": int(HOLD_S * 1000)}


class Merged(Machine):
    """With notices about different sessions in one pair."""

    def teardown(self) -> None:
        """Tell how much there was to do."""
        super().teardown()
        batches = self.door.batches
        event(f"collapsed: {any(batch.left_out for batch in batches)}")
        event(f"waited: {any(batch.waited for batch in batches)}")


class Apart(Machine):
    """With notices about different sessions kept apart."""

    merge_scopes = False


class Watching(Machine):
    """Where every read of a mailbox is seen."""

    sees_reads = True


class Held(Machine):
    """With notices that were delivered and stand for later ones."""

    hold_s = HOLD_S
    config = SESSION

    @rule(hours=st.sampled_from([0.4, 1.1]))
    def let_time_pass(self, hours: float) -> None:
        """Let holds run out; not while something waits, which would try patience."""
        self.rest()
        self.hs.clock.advance(hours * 3600)

    @rule()
    def restart(self) -> None:
        """Forget what was delivered."""
        self.rest()
        self.load()


class HeldWatching(Held):
    """The same where reads are seen, which do not count then."""

    sees_reads = True


class Observing(Machine):
    """Where the module only counts."""

    config = {"mode": "observe"}  # noqa: RUF012 read only

    def _begin(self, batch: Batch) -> None:
        super()._begin(batch)
        assert not batch.waited
        assert not batch.left_out

    def _note_deletion(self, before: dict[Place, Rows]) -> None:
        raise AssertionError(f"it deletes some of {before}")

    def check_at_rest(self) -> None:
        """Everything stays."""

    def check_sweep(self) -> None:
        """There is something to find."""


class Faulty(Machine):
    """With restarts, a crowded memory, late answers, and statements that fail or hang.

    What is left behind then, the next notice for each mailbox tidies.
    """

    anything_lost = True
    config = {"max_pairs": 30}  # noqa: RUF012 read only

    @rule()
    def restart(self) -> None:
        """Lose all memory."""
        self.rest()
        self.load()

    @precondition(lambda self: self.hs.ours())
    @rule(which=st.integers(0, 1), carried_out=st.booleans())
    def fail(self, which: int, carried_out: bool) -> None:
        """Let a statement of the module fail, before or after it was carried out."""
        ours = self.hs.ours()
        self.hs.answer(ours[which % len(ours)], lost(), carried_out=carried_out)

    @precondition(lambda self: self.hs.ours())
    @rule(which=st.integers(0, 1))
    def hang(self, which: int) -> None:
        """Let one hang until it is answered late."""
        ours = self.hs.ours()
        ours[which % len(ours)].hangs = True

    @precondition(lambda self: any(step.hangs for step in self.hs.steps))
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

    def load_again(self) -> None:
        """Start again, with room for everything."""
        self.config = {}
        self.load()

    def teardown(self) -> None:
        """Go on without faults: another sender's notice has each learned."""
        if hasattr(self, "traffic"):
            self.rest()
            self.load_again()
            probe = notice("key-1", "PROBE", None)
            self.send(SENDERS[0], WITHHELD[0], dict.fromkeys(DEVICES, probe))
            for _, device_id in DEVICES_ABROAD:
                self.send_abroad(WITHHELD[0], [device_id], probe)
        super().teardown()


class Failing(Faulty):
    """Where there is room for everything, so that a process mends what it left.

    A mailbox that is taken for learned has nothing left in it.
    """

    config = {}  # noqa: RUF012 read only

    def load_again(self) -> None:
        """Go on with the same process, once it has rested."""
        self.hs.pass_time(20)


class FaultyWatching(Faulty):
    """The same where reads are seen."""

    sees_reads = True


class FaultyHeld(Faulty):
    """The same with notices that stand for later ones once they were delivered."""

    hold_s = HOLD_S
    config: dict[str, Any] = {**SESSION, "max_pairs": 30}  # noqa: RUF012 read only


CASES = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    # A gate has to say the same each time; elsewhere new sequences are tried.
    derandomize=os.environ.get("CI") == "true",
)
for machine in (
    Merged,
    Apart,
    Watching,
    Held,
    HeldWatching,
    Observing,
    Faulty,
    Failing,
    FaultyWatching,
    FaultyHeld,
):
    case = machine.TestCase
    case.settings = CASES
    globals()[f"Test{machine.__name__}"] = case
del case

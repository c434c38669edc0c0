"""Any sequence of events, in any order of answers, keeps the invariants.

The events go to the module as Synapse would pass them on; what it stores is compared
with `tests/model/reference.py`.
"""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
from hypothesis import event, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from twisted.internet.defer import ensureDeferred

from tests.harness.messages import ENCRYPTED, WITHHELD, make_notice, make_olm_lookalike
from tests.model.batch import Batch, Said
from tests.model.messages import Message, keys, notices, others, scopes
from tests.model.play import ABROAD, RECIPIENT, Play
from tests.model.reference import Reference
from tests.model.tables import Place

DEVICES: list[Place] = [(RECIPIENT, "R"), (RECIPIENT, "R2")]
DEVICES_ABROAD: list[Place] = [(ABROAD, "A1"), (ABROAD, "A2")]
SENDERS = ["@s:here", "@t:there"]

senders = st.sampled_from(SENDERS)
devices = st.sampled_from(DEVICES)
targets = st.sampled_from([*DEVICES, *DEVICES, (RECIPIENT, "*"), (RECIPIENT, "GONE")])
abroad = st.sampled_from([["A1"], ["A2"], ["A1"], ["A1", "A2"]])

# How the module is configured, and what it sees where it runs.
settings_of_module = st.fixed_dictionaries(
    {
        "merge_scopes": st.sampled_from([True, True, False]),
        "repeat": st.sampled_from(["queued", "queued", "session"]),
        "session_hold_ms": st.just(3_600_000),
        "sees_reads": st.booleans(),
        "mode": st.sampled_from(["enforce"] * 7 + ["observe"]),
    }
)


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
    """Requests, syncs, transmissions and changes, one step at a time."""

    @initialize(setting=settings_of_module)
    def start(self, setting: dict[str, Any]) -> None:
        """Make the recipient's devices and load the module."""
        self.play = Play(devices=["R", "R2"], **setting)
        Play.made.pop()
        self.hs = self.play.hs
        self.reference = Reference(self.play)
        # Up to where each device was handed out its messages, and another server.
        self.answered: dict[str, int] = {}

    # Messages.

    @rule(sender=senders, to=targets, message=st.one_of(notices, others))
    def send_one(self, sender: str, to: Place, message: Message) -> None:
        """Send a notice or something else to a device of this server."""
        self.send(sender, message[0], {to: message[1]})

    @rule(sender=senders, key_1=keys, key_2=keys, scope=scopes)
    def send_notices(
        self, sender: str, key_1: str, key_2: str, scope: str | None
    ) -> None:
        """Send one to each device, which need not say the same."""
        said = [make_notice(key_1, "S1"), make_notice(key_2, "S1", session_id=scope)]
        self.send(sender, WITHHELD, dict(zip(DEVICES, said)))

    @rule(to=abroad, message=st.one_of(notices, others))
    def send_abroad(self, to: list[str], message: Message) -> None:
        contents = {(ABROAD, each): message[1] for each in to}
        self.send(SENDERS[0], message[0], contents)

    @rule(sender=senders)
    def send_olm_to_sender(self, sender: str) -> None:
        """Send an Olm message from the recipient to a notice's sender."""
        olm = make_olm_lookalike("recipient")
        self.send(RECIPIENT, ENCRYPTED, {(sender, "*"): olm})

    @rule()
    def send_olm_from_abroad(self) -> None:
        """Send one from a recipient on another server."""
        olm = make_olm_lookalike("abroad")
        self.send(ABROAD, ENCRYPTED, {(SENDERS[0], "S1"): olm})

    @rule(message=st.one_of(notices, others))
    def spoof(self, message: Message) -> None:
        """Let a server speak for a user of another one."""
        inbound = ("elsewhere", str(len(self.play.batches)))
        self.send(SENDERS[1], message[0], {DEVICES[0]: message[1]}, inbound)

    @rule(which=st.integers(1, 3), same_edu=st.booleans())
    def repeat(self, which: int, same_edu: bool) -> None:
        """Say once more what was said lately, or let its EDU come again."""
        for last in self.play.batches[-which:][:1]:
            edu = last.inbound if same_edu else None
            self.send(last.sender, last.message_type, last.said, edu)

    def send(self, sender: str, kind: str, contents: Said, edu: Any = None) -> Batch:
        """Send messages, from wherever the sender is."""
        batch = self.play.begin_all(contents, kind, sender=sender, edu=edu)
        assert self.play.config.enforces or not (batch.waited or batch.left_out)
        if batch.waited:
            self.reference.check_may_wait(batch)
        return batch

    # What the database does, and time.

    @rule(which=st.integers(0, 7))
    def answer(self, which: int) -> None:
        """Let the database answer one of the waiting statements, if there are any."""
        if not all(step.hangs for step in self.hs.steps):
            self.hs.take_step(which)

    @rule(which=st.integers(0, 1))
    def carry_out(self, which: int) -> None:
        """Carry out a statement of the module that is answered later."""
        for step in self.hs.ours()[which : which + 1]:
            step.carry_out()

    @rule()
    def answer_all(self) -> None:
        self.hs.take_all_steps()

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.6]))
    def wait(self, seconds: float) -> None:
        """Let a little time pass, so that patience may end."""
        self.hs.pass_time(seconds)

    @rule()
    def rest(self) -> None:
        self.hs.come_to_rest()
        self.reference.check_at_rest()

    @rule(hours=st.sampled_from([0.4, 1.1]))
    def let_time_pass(self, hours: float) -> None:
        """Let holds run out; not while something waits, which would try patience."""
        self.rest()
        self.hs.clock.advance(hours * 3600)

    @rule()
    def restart(self) -> None:
        """Forget all that was seen."""
        self.rest()
        self.play.load()

    # Readers.

    @rule(device=devices)
    def sync(self, device: Place) -> None:
        """Begin to answer a sync; whether it arrives, an acknowledgement tells."""
        token = self.play.read(device[1])
        reads = self.reference.reads.setdefault(device, [])
        reads.append((self.play.tick(), token))
        ensureDeferred(self._hand_out(device, token))

    async def _hand_out(self, device: Place, token: int) -> None:
        answered = self.answered.get(device[1], 0)
        await self.hs.read(*device, answered, token)
        self.answered[device[1]] = max(token, self.answered.get(device[1], 0))

    @rule(device=devices)
    def acknowledge(self, device: Place) -> None:
        """Sync again with the last token, which deletes what it covers."""
        token = self.answered.get(device[1], 0)
        self.reference.deliver(lambda: self.hs.acknowledge(*device, token))

    @rule()
    def transmit(self) -> None:
        """Send what is in the outbox; whether it arrives, the answer tells."""
        self.answered["outbox"] = self.hs.stream_token()

    @rule()
    def transmitted(self) -> None:
        """Let the other server answer, which deletes what was sent."""
        token = self.answered.get("outbox", 0)
        self.reference.deliver(lambda: self.hs.delete_sent("there", token))

    @rule(device=st.sampled_from([*DEVICES, *DEVICES_ABROAD]))
    def change_device(self, device: Place) -> None:
        """Let a device upload keys, or be made again."""
        self.hs.change_device(*device)
        self.reference.changes.setdefault(device, []).append(self.play.tick())

    # What holds.

    @invariant()
    def nothing_waits_or_overtakes(self) -> None:
        """I2, and I4: at most two statements of ours at once."""
        self.play.check()

    def teardown(self) -> None:
        """Come to rest, and compare; a sweep finds nothing but for spoofs."""
        if not hasattr(self, "play"):
            return
        self.rest()
        self.reference.check()
        for stream_id in self.reference.spoofed():
            self.hs.rows("DELETE FROM device_inbox WHERE stream_id = ?", stream_id)
        self.play.end()
        event(f"collapsed: {any(batch.left_out for batch in self.play.batches)}")

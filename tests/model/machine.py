"""Any sequence of events, in any order of answers, keeps the invariants.

The events go to the module as Synapse would pass them on; what it stores is compared
with `tests/model/reference.py`.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import event, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from twisted.internet.defer import ensureDeferred

from synapse_withheld.config import Config
from tests.model.door import Batch, Door, Inbound, local_batch, remote_batch
from tests.model.faults import loaded, was_asked_for
from tests.model.homeserver import MOST_STATEMENTS, ModelHomeserver
from tests.model.redundancy import OLM, WITHHELD
from tests.model.reference import Reference
from tests.model.sweeping import swept_away
from tests.model.tables import Place, Rows

RECIPIENT = "@r:here"
ABROAD = "@a:there"
DEVICES: list[Place] = [(RECIPIENT, "R1"), (RECIPIENT, "R2")]
DEVICES_ABROAD: list[Place] = [(ABROAD, "A1"), (ABROAD, "A2")]
PLACES = [*DEVICES, *DEVICES_ABROAD]
SENDERS = ["@s:here", "@t:there"]
HOLD_S = 3600.0

senders = st.sampled_from(SENDERS)
devices = st.sampled_from(DEVICES)
targets = st.sampled_from(["R1", "R2", "R1", "R2", "*", "GONE"])
abroad = st.sampled_from([["A1"], ["A2"], ["A1"], ["A1", "A2"]])
keys = st.sampled_from(["key-1", "key-1", "key-2"])
# One is called like a key: the two never meet.
from_devices = st.sampled_from(["S1", "S1", "S1", None, "key-1"])
scopes = st.sampled_from([None, None, None, "session-1", "session-2"])
withheld_types = st.sampled_from([WITHHELD[0], WITHHELD[0], WITHHELD[1]])


def cases(steps: int) -> settings:
    """Return how a machine is run; `EXAMPLES` says how often."""
    return settings(
        max_examples=int(os.environ.get("EXAMPLES", "300")),
        stateful_step_count=steps,
        deadline=None,
        # A gate has to say the same each time; elsewhere new sequences are tried.
        derandomize=os.environ.get("CI") == "true",
    )


@attrs.frozen
class Setting:
    """How the module is configured, and what it sees where it runs.

    Attributes:
        hold_s: How long a delivered notice stands for later ones; 0 for not at all.
    """

    merge_scopes: bool
    hold_s: float
    sees_reads: bool
    mode: str

    def config(self, **more: Any) -> Config:
        """Return it as the module takes it."""
        return Config(
            mode=self.mode,
            merge_scopes=self.merge_scopes,
            repeat="session" if self.hold_s else "queued",
            session_hold_ms=int(HOLD_S * 1000),
            **more,
        )


SETTINGS = st.builds(
    Setting,
    merge_scopes=st.sampled_from([True, True, False]),
    hold_s=st.sampled_from([0.0, 0.0, HOLD_S]),
    sees_reads=st.booleans(),
    mode=st.sampled_from(["enforce"] * 7 + ["observe"]),
)


def notice(key: str, from_device: str | None, scope: str | None) -> dict[str, Any]:
    """Return the content of a notice."""
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "code": "m.no_olm",
        "sender_key": key,
        "from_device": from_device,
        "session_id": scope,
    }
    return {name: value for name, value in content.items() if value is not None}


def olm(sender_key: str) -> dict[str, Any]:
    """Return the content of an Olm message."""
    algorithm = "m.olm.v1.curve25519-aes-sha2"
    return {"algorithm": algorithm, "sender_key": sender_key, "ciphertext": {"k": {}}}


def type_of(content: dict[str, Any]) -> str:
    """Return the type of a message that is no notice."""
    return OLM if "ciphertext" in content else "m.dummy"


notices = st.builds(notice, keys, from_devices, scopes)
others = st.one_of(keys.map(olm), keys.map(olm), st.just({"n": 1}))


class Machine(RuleBasedStateMachine):
    """Requests, syncs, transmissions and changes, one step at a time.

    Attributes:
        anything_lost: Whether the module may forget what it saw arrive.
    """

    anything_lost = False

    @initialize(setting=SETTINGS)
    def start(self, setting: Setting) -> None:
        """Make the recipient's devices and load the module."""
        self.setting = setting
        self.hs = ModelHomeserver(sees_reads=setting.sees_reads)
        self.hs.before_delete = self.all_rows
        self.hs.after_delete = self._note_deletion
        self.door = Door(self.hs)
        self.reference = Reference(
            self.door,
            self.hs.stored,
            setting.merge_scopes,
            setting.hold_s,
            setting.sees_reads,
        )
        self.answered: dict[Place | str, int] = {}
        self.edus = 0
        self.last_edu: Batch | None = None
        for device in DEVICES:
            self.hs.add_device(*device)
        self.load()

    def load(self) -> None:
        """Load the module, as at a start."""
        self.traffic, self.failures = loaded(self.config(), self.hs)
        self.door.loaded = self.door.tick()

    def config(self) -> Config:
        """Return how it is configured."""
        return self.setting.config()

    @property
    def enforces(self) -> bool:
        """Say whether the module does anything but count."""
        return self.setting.mode == "enforce"

    # Messages.

    @rule(sender=senders, kind=withheld_types, to=targets, content=notices)
    def send_notice(
        self, sender: str, kind: str, to: str, content: dict[str, Any]
    ) -> None:
        """Send a notice to a device of this server."""
        self.send(sender, kind, {(RECIPIENT, to): content})

    @rule(sender=senders, key_1=keys, key_2=keys, scope=scopes)
    def send_notices(
        self, sender: str, key_1: str, key_2: str, scope: str | None
    ) -> None:
        """Send one to each device, which need not say the same."""
        contents = {
            DEVICES[0]: notice(key_1, "S1", None),
            DEVICES[1]: notice(key_2, "S1", scope),
        }
        self.send(sender, WITHHELD[0], contents)

    @rule(to=abroad, content=notices)
    def send_notice_abroad(self, to: list[str], content: dict[str, Any]) -> None:
        """Send a notice to devices on another server."""
        self.send_abroad(WITHHELD[0], to, content)

    @rule(sender=senders, to=targets, content=others)
    def send_other(self, sender: str, to: str, content: dict[str, Any]) -> None:
        """Send an Olm message to the recipient, or something that no rule names."""
        self.send(sender, type_of(content), {(RECIPIENT, to): content})

    @rule(to=abroad, content=others)
    def send_other_abroad(self, to: list[str], content: dict[str, Any]) -> None:
        """Send one to devices on another server."""
        self.send_abroad(type_of(content), to, content)

    @rule(sender=senders)
    def send_olm_to_sender(self, sender: str) -> None:
        """Send an Olm message from the recipient to a notice's sender."""
        if sender.endswith(":here"):
            self.send(RECIPIENT, OLM, {(sender, "*"): olm("recipient")})
        else:
            contents = {(sender, "*"): olm("recipient")}
            self._begin(remote_batch(RECIPIENT, OLM, contents))

    @rule()
    def send_olm_from_abroad(self) -> None:
        """Send one from a recipient on another server."""
        self.send(ABROAD, OLM, {(SENDERS[0], "S1"): olm("abroad")})

    @rule(key=keys, kind=st.sampled_from([WITHHELD[0], OLM]))
    def spoof(self, key: str, kind: str) -> None:
        """Let a server speak for a user of another one."""
        content = olm(key) if kind == OLM else notice(key, "S1", None)
        self.edus += 1
        inbound = ("elsewhere", str(self.edus))
        self._begin(local_batch(SENDERS[1], kind, {DEVICES[0]: content}, inbound))

    @rule()
    def repeat_edu(self) -> None:
        """Let the last EDU come again, which may be on its way still."""
        last = self.last_edu
        if last is not None:
            batch = local_batch(last.sender, last.message_type, last.said, last.inbound)
            self._begin(batch)

    # What the database does, and time.

    @rule(which=st.integers(0, 7))
    def answer(self, which: int) -> None:
        """Let the database answer one of the waiting statements, if there are any."""
        if not all(step.hangs for step in self.hs.steps):
            self.hs.take_step(which)

    @rule()
    def answer_all(self) -> None:
        """Let it answer everything that waits."""
        self.hs.take_all_steps()

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.6]))
    def wait(self, seconds: float) -> None:
        """Let a little time pass, so that patience may end."""
        self.hs.pass_time(seconds)

    @rule()
    def rest(self) -> None:
        """Let everything come to rest."""
        self.hs.come_to_rest()
        self.check_at_rest()

    @rule(hours=st.sampled_from([0.4, 1.1]))
    def let_time_pass(self, hours: float) -> None:
        """Let holds run out; not while something waits, which would try patience."""
        self.rest()
        self.hs.clock.advance(hours * 3600)

    @rule()
    def restart(self) -> None:
        """Forget all that was seen."""
        self.rest()
        self.load()

    # Readers.

    @rule(device=devices)
    def sync(self, device: Place) -> None:
        """Begin to answer a sync; whether it arrives, an acknowledgement tells."""
        token = self.hs.stream_token()
        self.traffic.note_read(*device, token)
        reads = self.reference.reads.setdefault(device, [])
        reads.append((self.door.tick(), token))
        ensureDeferred(self._hand_out(device, token))

    async def _hand_out(self, device: Place, token: int) -> None:
        await self.hs.read(*device, self.answered.get(device, 0), token)
        self.answered[device] = max(token, self.answered.get(device, 0))

    @rule(device=devices)
    def acknowledge(self, device: Place) -> None:
        """Sync again with the last token, which deletes what it covers."""
        token = self.answered.get(device, 0)
        self._note_gone([device], token)
        self.hs.acknowledge(*device, token)

    @rule()
    def transmit(self) -> None:
        """Send what is in the outbox; whether it arrives, the answer tells."""
        self.answered["outbox"] = self.hs.stream_token()

    @rule()
    def transmitted(self) -> None:
        """Let the other server answer, which deletes what was sent."""
        token = self.answered.get("outbox", 0)
        self._note_gone(DEVICES_ABROAD, token)
        self.hs.delete_sent("there", token)

    @rule(device=st.sampled_from(PLACES))
    def change_device(self, device: Place) -> None:
        """Let a device upload keys, or be made again."""
        self.hs.change_device(*device)
        self.reference.changes.setdefault(device, []).append(self.door.tick())

    # How Synapse passes them on.

    def send(self, sender: str, kind: str, contents: dict[Place, Any]) -> None:
        """Send to devices of this server, from wherever the sender is."""
        inbound: Inbound | None = None
        if not sender.endswith(":here"):
            self.edus += 1
            inbound = ("there", str(self.edus))
        batch = local_batch(sender, kind, contents, inbound)
        if inbound is not None:
            self.last_edu = batch
        self._begin(batch)

    def send_abroad(self, kind: str, to: list[str], content: dict[str, Any]) -> None:
        """Send to devices of another server."""
        contents = {(ABROAD, device): content for device in to}
        self._begin(remote_batch(SENDERS[0], kind, contents))

    def _begin(self, batch: Batch) -> None:
        self.door.begin(self.traffic, batch)
        assert self.enforces or not (batch.waited or batch.left_out)
        if batch.waited:
            self.reference.check_may_wait(batch, PLACES)

    # What is there.

    def rows(self, place: Place, *, alone: bool = False) -> Rows:
        """Return the messages for a device, as far as they wait here.

        Args:
            place: The device.
            alone: Whether to leave out what shares a row with others.
        """
        if place in DEVICES:
            return dict(self.hs.mailbox(*place))
        return {
            stream_id: {
                "sender": edu["sender"],
                "type": edu["type"],
                "content": edu["messages"][place[0]][place[1]],
            }
            for stream_id, edu in self.hs.outbox("there")
            if place[1] in edu["messages"].get(place[0], ())
            and not (alone and len(edu["messages"][place[0]]) > 1)
        }

    def all_rows(self) -> dict[Place, Rows]:
        """Return what waits for each device."""
        return {place: self.rows(place) for place in PLACES}

    def _note_gone(self, places: list[Place], token: int) -> None:
        when = (self.door.tick(), self.hs.clock.seconds())
        for place in places:
            for stream_id in self.rows(place):
                if stream_id <= token:
                    self.reference.gone[place, stream_id] = when

    def _note_deletion(self, before: dict[Place, Rows]) -> None:
        assert self.enforces
        for place, rows in before.items():
            self.reference.note_deleted(place, rows, self.rows(place))

    # The invariants.

    @invariant()
    def nothing_waits_or_overtakes(self) -> None:
        """I2, and I4: at most two statements of ours at once."""
        self.door.check()
        assert self.hs.most_of_ours <= MOST_STATEMENTS
        for error in self.failures:
            assert was_asked_for(error), error

    def check_at_rest(self) -> None:
        """I1: at rest there is nothing redundant."""
        for place in PLACES if self.enforces else []:
            rows = self.rows(place, alone=True)
            self.reference.check_at_rest(rows, anything_lost=self.anything_lost)

    def check_sweep(self) -> None:
        """I1: and a sweep finds nothing, but what spoofs are redundant for."""
        spoofed = self.reference.spoofed()
        for stream_id in spoofed:
            self.hs.rows("DELETE FROM device_inbox WHERE stream_id = ?", stream_id)
        merge_scopes = self.setting.merge_scopes
        assert not self.enforces or not swept_away(self.hs, merge_scopes=merge_scopes)

    def teardown(self) -> None:
        """Come to rest, and compare."""
        if not hasattr(self, "traffic"):
            return
        self.hs.come_to_rest()
        self.door.check()
        for batch in self.door.batches:
            # I4: no failure of ours becomes one of Synapse's.
            assert batch.ended is not None, batch
        self.reference.check_batches(PLACES)
        for place, rows in self.all_rows().items():
            self.reference.check_left(place, rows)
        self.check_at_rest()
        self.check_sweep()
        event(f"collapsed: {any(batch.left_out for batch in self.door.batches)}")

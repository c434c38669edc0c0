"""Any sequence of events, in any order of answers, keeps the invariants.

However the module is configured, and with statements that are answered late, fail or
never come back. What it stores is compared with `tests/model/reference.py`.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import event
from hypothesis.stateful import initialize, rule
from twisted.internet.defer import ensureDeferred

from tests.harness.messages import ENCRYPTED, WITHHELD, make_notice, make_olm_lookalike
from tests.model.batch import Said
from tests.model.faults import LostError
from tests.model.machine import DEVICES, SENDERS, Machine, cases, devices, senders
from tests.model.messages import Message, keys, notices, others, scopes
from tests.model.play import ABROAD, RECIPIENT, Play
from tests.model.reference import Reference
from tests.model.tables import Place

ELSEWHERE: list[Place] = [(ABROAD, "A1"), (ABROAD, "A2")]
HERE, THERE = SENDERS

targets = st.sampled_from(
    [
        *([each] for each in [*DEVICES, *DEVICES, *ELSEWHERE]),
        *([(RECIPIENT, "*")], [(RECIPIENT, "GONE")], ELSEWHERE, [*DEVICES, *ELSEWHERE]),
    ]
)
# Who answers whom, with a message for which device.
answers = st.sampled_from(
    [(RECIPIENT, (HERE, "*")), (RECIPIENT, (THERE, "*")), (ABROAD, (HERE, "S1"))]
)

# What happens while a notice is repeated.
MOMENTS = ["again", "again", "olm", "read", "taken", "rest", "answer_all"]

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


class Events(Machine):
    """Requests, syncs, transmissions and changes, one step at a time.

    What faults leave behind, the next notice for each mailbox tidies.
    """

    @initialize(
        setting=settings_of_module,
        faults=st.booleans(),
        max_pairs=st.sampled_from([30, 1000]),
    )
    def start(self, setting: dict[str, Any], faults: bool, max_pairs: int) -> None:
        """Load the module; with faults, there may be little room in its memory."""
        max_pairs = max_pairs if faults else 1000
        self.begin(Play(devices=["R", "R2"], max_pairs=max_pairs, **setting))
        self.faults = faults
        self.reference = Reference(self.play)
        # Up to where each device was handed out its messages, and another server.
        self.answered: dict[str, int] = {}

    # Messages.

    @rule(sender=senders, to=targets, message=st.one_of(notices, others))
    def send_one(self, sender: str, to: list[Place], message: Message) -> None:
        """Send a notice or something else; what leaves is of users of this server."""
        sender = HERE if to[-1][0] == ABROAD else sender
        self.send(sender, message[0], dict.fromkeys(to, message[1]))

    @rule(sender=senders, key_1=keys, key_2=keys, scope=scopes)
    def send_two(self, sender: str, key_1: str, key_2: str, scope: str | None) -> None:
        """Send one to each device, which need not say the same."""
        said = [make_notice(key_1, "S1"), make_notice(key_2, "S1", session_id=scope)]
        self.send(sender, WITHHELD, dict(zip(DEVICES, said)))

    @rule(answer=answers)
    def send_olm_back(self, answer: tuple[str, Place]) -> None:
        sender, to = answer
        self.send(sender, ENCRYPTED, {to: make_olm_lookalike(sender)})

    @rule(message=st.one_of(notices, others))
    def spoof(self, message: Message) -> None:
        """Let a server speak for a user of another one."""
        edu = ("elsewhere", str(len(self.play.batches)))
        self.send(THERE, message[0], {DEVICES[0]: message[1]}, edu)

    @rule(
        sender=senders,
        device=devices,
        message=notices,
        happens=st.lists(st.sampled_from(MOMENTS), min_size=1, max_size=6),
    )
    def say_again(
        self, sender: str, device: Place, message: Message, happens: list[str]
    ) -> None:
        """Send one notice again and again, with this and that in between."""
        for each in ["again", *happens]:
            if each == "again":
                self.send(sender, message[0], {device: message[1]})
            elif each == "olm":
                olm = make_olm_lookalike(message[1]["sender_key"])
                self.send(sender, ENCRYPTED, {device: olm})
            elif each in {"read", "taken"}:
                self.sync(device)
                if each == "taken":
                    self.answer_all()
                    self.acknowledge(device)
            else:
                getattr(self, each)()

    @rule(which=st.integers(1, 3), same_edu=st.booleans())
    def repeat(self, which: int, same_edu: bool) -> None:
        """Say once more what was said lately, or let its EDU come again."""
        for last in self.play.batches[-which:][:1]:
            edu = last.inbound if same_edu else None
            self.send(last.sender, last.message_type, last.said, edu)

    def send(self, sender: str, kind: str, contents: Said, edu: Any = None) -> None:
        batch = self.play.begin_all(contents, kind, sender=sender, edu=edu)
        assert self.play.config.enforces or not (batch.waited or batch.left_out)
        if batch.waited:
            self.reference.check_may_wait(batch)

    # What the database does, and time.

    @rule()
    def answer_all(self) -> None:
        self.hs.take_all_steps()

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.6, 1.5, 6.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass, so that patience may end and, with faults, rests."""
        self.hs.pass_time(seconds if self.faults else min(seconds, 0.6))

    @rule(hours=st.sampled_from([0.4, 1.1]))
    def let_time_pass(self, hours: float) -> None:
        """Let holds run out; not while something waits, which would try patience."""
        self.rest()
        self.hs.clock.advance(hours * 3600)

    @rule()
    def rest(self) -> None:
        """Let everything come to rest, whatever was lost on the way."""
        self.answer_late()
        self.hs.come_to_rest()
        if not self.faults:
            self.reference.check_at_rest()

    @rule(which=st.integers(0, 1), happens=st.sampled_from(["hangs", "fails", "lost"]))
    def fail(self, which: int, happens: str) -> None:
        """Let a statement of the module hang, fail, or lose its answer."""
        for step in self.hs.ours()[which : which + 1] if self.faults else ():
            step.hangs = happens == "hangs"
            if not step.hangs:
                self.hs.answer(step, LostError(), carried_out=happens == "lost")

    @rule()
    def answer_late(self) -> None:
        """Let what hangs go on."""
        for step in self.hs.steps:
            step.hangs = False

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

    @rule(device=st.sampled_from([*DEVICES, *ELSEWHERE]))
    def change_device(self, device: Place) -> None:
        """Let a device upload keys, or be made again."""
        self.hs.change_device(*device)
        self.reference.changes.setdefault(device, []).append(self.play.tick())

    def teardown(self) -> None:
        """Come to rest, and compare; a sweep finds nothing but for spoofs."""
        if not hasattr(self, "play"):
            return
        self.rest()
        if self.faults:
            self.go_on_without_faults()
        self.reference.check()
        for stream_id in self.reference.spoofed():
            self.hs.rows("DELETE FROM device_inbox WHERE stream_id = ?", stream_id)
        self.play.end()
        event(f"collapsed: {any(batch.left_out for batch in self.play.batches)}")

    def go_on_without_faults(self) -> None:
        """Have each mailbox learned by the notice of another device.

        In the same process: what it takes for learned has nothing left in it.
        """
        self.hs.pass_time(20)
        for device in [*DEVICES, *ELSEWHERE]:
            self.send(HERE, WITHHELD, {device: make_notice("key-1", "PROBE")})
            self.hs.come_to_rest()
        self.reference.check_at_rest(anything_lost=True)


TestEvents = Events.TestCase
TestEvents.settings = cases(examples=600)

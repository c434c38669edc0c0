"""With every rule on, a client knows in the end what it would know without the module.

Whatever is sent, synced, lost on the way and acknowledged in between, and however often
the module is restarted; and it has read no more. One play is exempt, see `exempt.py`.
"""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import event
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from twisted.internet.defer import ensureDeferred

from synapse_withheld.config import Config
from synapse_withheld.memory.memory import Memory
from tests.harness.rules import EVERY_RULE
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    TRACING,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    WITHHELD,
    Client,
)
from tests.model.door import Batch, Door, local_batch
from tests.model.exempt import Exempt, Rows
from tests.model.faults import loaded
from tests.model.homeserver import ModelHomeserver
from tests.model.machine import cases
from tests.model.redundancy import goes
from tests.model.sweeping import swept_away
from tests.model.tables import Place

RECIPIENT = "@r:here"
DEVICES = [(RECIPIENT, "R1"), (RECIPIENT, "R2")]
SENDERS = ["@s:here", "@t:there"]
TWO_DAYS_S = 2 * 24 * 60 * 60
VANISH = attrs.evolve(
    EVERY_RULE,
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)

Message = tuple[str, dict[str, Any]]


def withheld(code: str, session: str, key: str) -> Message:
    """Return a withheld message."""
    content = {"algorithm": "m.megolm.v1.aes-sha2", "code": code, "sender_key": key}
    if code != "m.no_olm":
        content |= {"room_id": "!room", "session_id": session}
    return WITHHELD, content


def request(message_type: str, action: str, which: str, about: str) -> Message:
    """Return a request or a cancellation."""
    content: dict[str, Any] = {
        "action": action,
        "requesting_device_id": "S1",
        "request_id": which,
    }
    if action == "request":
        content["body"] = {"session_id": about}
    return message_type, content


def verification(message_type: str, transaction: str, **more: Any) -> Message:
    """Return a request to verify or a cancellation."""
    if message_type == VERIFICATION_REQUEST:
        more = {"from_device": "S1", **more}
    return message_type, {"transaction_id": transaction, **more}


def sent_by(device: str, now_ts: int, message: Message) -> Message:
    """Return a message as a device sends it that logged in at some time.

    Transactions with an even number have no time: there is one request of each.
    """
    kind, content = message
    content = dict(content)
    if "requesting_device_id" in content:
        content["requesting_device_id"] = device
    if "transaction_id" in content:
        number = content["transaction_id"]
        content["transaction_id"] = device + number
        if kind == VERIFICATION_REQUEST:
            content["from_device"] = device
            content |= {"timestamp": now_ts} if int(number) % 2 else {}
    return kind, content


few = st.sampled_from(["1", "2"])
rarely = st.sampled_from(["1", "1", "1", "2"])
senders = st.sampled_from(SENDERS)
devices = st.sampled_from(DEVICES)
targets = st.sampled_from(["R1", "R1", "R2", "*"])
codes = st.sampled_from(["m.no_olm", "m.blacklisted", "m.unverified", "org.own"])
kinds = st.sampled_from([KEY_REQUEST, SECRET_REQUEST])
ACTIONS = ["request", "request_cancellation"]
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(withheld, codes, few, few),
    st.builds(request, kinds, st.sampled_from(ACTIONS), few, rarely),
    st.builds(
        verification, st.sampled_from([VERIFICATION_REQUEST, VERIFICATION_CANCEL]), few
    ),
    st.builds(lambda n: ("m.dummy", {"n": n}), st.integers(0, 9)),
)


class AllRules(RuleBasedStateMachine):
    """Messages on their way to two devices, with the module and without."""

    @initialize(
        sees_reads=st.booleans(),
        vanishes=st.booleans(),
        has_room=st.booleans(),
        found=st.lists(st.tuples(senders, messages), max_size=10),
    )
    def start(
        self,
        sees_reads: bool,
        vanishes: bool,
        has_room: bool,
        found: list[tuple[str, Message]],
    ) -> None:
        """Make the devices, of which one has messages already, and load the module."""
        self.config = Config(
            rules=VANISH if vanishes else EVERY_RULE,
            max_pairs=1000 if has_room or not vanishes else 300,
        )
        self.vanishes = vanishes
        # A sweep finds what was found before, and what was forgotten.
        self.is_tidy = not (vanishes or found)
        self.hs = ModelHomeserver(sees_reads=sees_reads or vanishes)
        self.door = Door(self.hs)
        # What stock has for each device; what each client knows, and how far it got.
        self.stock: dict[Place, list[dict[str, Any]]] = {each: [] for each in DEVICES}
        self.clients = {each: Client() for each in DEVICES}
        self.tokens = dict.fromkeys(DEVICES, 0)
        self.under_way: dict[str, Batch] = {}
        self.edus = 0
        self.devices: dict[str, tuple[str, int]] = {}
        self.gone: set[tuple[str, str]] = set()
        self.exempt = Exempt()
        self.hs.register("@s:here")
        for sender in SENDERS:
            self._log_in(sender)
            self.announce(sender)
        for device in DEVICES:
            self.hs.add_device(*device)
        for sender, message in found:
            self.hs.put(DEVICES[0], self._said(sender, "R1", message))
        self.load()

    def load(self) -> None:
        """Load the module."""
        self.traffic, self.failures = loaded(self.config, self.hs)
        self.exempt.watch(self.memory)

    @property
    def memory(self) -> Memory:
        """Return what the module remembers."""
        return self.traffic.inbox.memory

    @rule(sender=senders, to=targets, message=messages)
    def send(self, sender: str, to: str, message: Message) -> None:
        """Send a message; a sender waits for the answer to the one before."""
        earlier = self.under_way.get(sender)
        while earlier is not None and earlier.ended is None:
            self._step(0)
        said = self._said(sender, to, message)
        inbound = ("there", str(self.edus)) if sender.endswith(":there") else None
        contents = {(RECIPIENT, to): said["content"]}
        batch = local_batch(sender, said["type"], contents, inbound)
        self.under_way[sender] = self.door.begin(self.traffic, batch)
        assert not batch.waited or said["type"] == WITHHELD

    @rule(
        sender=senders,
        device=devices,
        kind=kinds,
        about=rarely,
        happens=st.lists(
            st.sampled_from([*ACTIONS, *ACTIONS, "sync", "lose", "read", "answer"]),
            min_size=2,
            max_size=7,
        ),
    )
    def ask(
        self, sender: str, device: Place, kind: str, about: str, happens: list[str]
    ) -> None:
        """Ask and take back, while the device that is asked reads."""
        for each in happens:
            if each in ACTIONS:
                self.send(sender, device[1], request(kind, each, "1", about))
            elif each == "read":
                self.sync_slowly(device, arrives=True, limit=100)
            elif each == "answer":
                self._step(0)
            else:
                self.sync(device, arrives=each == "sync")

    @rule(device=devices, arrives=st.booleans())
    def sync(self, device: Place, arrives: bool) -> None:
        """Answer a sync; whether the answer arrives or not."""
        token, since = self._begin_sync(device), self.tokens[device]
        rows = self.hs.mailbox(*device, since, token)
        self._hand_out(device, rows, since, token, arrives=arrives)

    @rule(device=devices, arrives=st.booleans(), limit=st.sampled_from([1, 2, 100]))
    def sync_slowly(self, device: Place, arrives: bool, limit: int) -> None:
        """Begin to answer a sync with a page; the database takes its time."""
        token = self._begin_sync(device)
        ensureDeferred(self._answer(device, token, limit, arrives=arrives))

    async def _answer(
        self, device: Place, token: int, limit: int, *, arrives: bool
    ) -> None:
        since = self.tokens[device]
        rows = await self.hs.read(*device, since, token)
        page = rows[:limit]
        up_to = page[-1][0] if len(page) < len(rows) else token
        self._hand_out(device, page, since, up_to, arrives=arrives)

    def _begin_sync(self, device: Place) -> int:
        self.hs.acknowledge(*device, self.tokens[device])
        token = self.hs.stream_token()
        self.traffic.note_read(*device, token)
        return token

    def _hand_out(
        self, device: Place, rows: Rows, since: int, up_to: int, *, arrives: bool
    ) -> None:
        self.exempt.hand_out(self.memory, device, rows)
        if arrives and self.tokens[device] == since:
            self.clients[device].give(message for _, message in rows)
            self.tokens[device] = up_to

    @rule(which=st.integers(0, 7))
    def answer(self, which: int) -> None:
        """Let the database answer one of the waiting statements, if there are any."""
        self._step(which)

    @rule()
    def rest(self) -> None:
        """Let the database answer everything."""
        self.hs.come_to_rest()
        assert [] == self.failures

    @rule(sender=senders)
    def log_out(self, sender: str) -> None:
        """Log in with another device; servers hear of it when they do."""
        device, _ = self.devices[sender]
        self.rest()
        self.hs.remove_device(sender, device)
        self.gone.add((sender, device))
        self._log_in(sender)

    @rule(sender=senders)
    def announce(self, sender: str) -> None:
        """Let this server hear of a device of another one."""
        if sender.endswith(":there"):
            self.hs.track(sender, [self.devices[sender][0]])

    @rule()
    def pass_days(self) -> None:
        """Let so much time pass that what has a time expires."""
        self.rest()
        self.hs.clock.advance(TWO_DAYS_S)

    @rule()
    def restart(self) -> None:
        """Lose all memory."""
        self.rest()
        self.load()

    @rule(device=devices)
    def evict(self, device: Place) -> None:
        """Forget a mailbox, as when others need the room."""
        if not self.is_tidy:
            self.memory.forget(device)

    @invariant()
    def note_exempt(self) -> None:
        """Note what nobody can know any more."""
        if self.vanishes:
            self.exempt.note(self.memory, self._visible)

    def _said(self, sender: str, to: str, message: Message) -> dict[str, Any]:
        """Return what a sender says now, after it was queued where stock has it."""
        kind, content = sent_by(*self.devices[sender], message)
        self.edus += 1
        if kind in {WITHHELD, KEY_REQUEST, SECRET_REQUEST}:
            content[TRACING] = str(self.edus)
        said = {"content": content, "type": kind, "sender": sender}
        for device in DEVICES if to == "*" else [(RECIPIENT, to)]:
            self.stock[device].append(said)
        return said

    def _log_in(self, sender: str) -> None:
        device = f"S{len(self.gone)}"
        self.devices[sender] = (device, self._now_ts())
        if sender.endswith(":here"):
            self.hs.add_device(sender, device)

    def _now_ts(self) -> int:
        return self.hs.runtime().now_ts()

    def _step(self, which: int) -> None:
        if self.hs.steps:
            self.hs.take_step(which)
        else:
            self.hs.pass_time(0.05)
        self.door.check()

    def _visible(self, device: Place) -> Rows:
        return self.hs.mailbox(*device, up_to=self.hs.stream_token())

    def teardown(self) -> None:
        """Let everything arrive, and compare."""
        if not hasattr(self, "traffic"):
            return
        self.rest()
        self.note_exempt()
        self.check_swept()
        for device, module in self.clients.items():
            self.sync(device, arrives=True)
            stock = Client()
            stock.give(self.stock[device])
            for client in (stock, module):
                client.forget(self._now_ts(), self.gone)
                for asked in self.exempt.reused.get(device, ()):
                    client.asked.pop(asked, None)
            assert stock.knows == module.knows
            assert module.read <= stock.read
        event(f"vanished: {self.hs.answered.count('withheld_delete_vanished') > 0}")
        event(f"exempt: {any(self.exempt.reused.values())}")

    def check_swept(self) -> None:
        """A sweep finds nothing but what became stale by itself."""
        before = {device: dict(self._visible(device)) for device in DEVICES}
        now_ts = self._now_ts()
        for user, device, at in swept_away(self.hs, rules=EVERY_RULE, now_ts=now_ts):
            rows = before[user, device]
            assert not self.is_tidy or not any(
                goes(rows[at], other, merge_scopes=True, newer_seen=False)
                for newer, other in rows.items()
                if newer > at
            )
            content = rows[at]["content"]
            asker = content.get("requesting_device_id") or content.get("from_device")
            is_stale = (
                rows[at]["sender"],
                asker,
            ) in self.gone or "timestamp" in content
            assert is_stale or not self.is_tidy


TestAllRules = AllRules.TestCase
TestAllRules.settings = cases(steps=50)

"""With every rule on, a client knows in the end what it would know without the module.

Whatever is sent, synced, lost on the way and acknowledged in between, and however often
the module is restarted; and it has read no more.

In one play a device does not hear that a request was taken back: its ID is used again
after the memory forgot that it had been handed out, and nothing in the mailbox told of
it. No memory can know that it was: the device may keep what was asked first.
"""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import event
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.defer import ensureDeferred

from tests.harness.rules import EVERY_RULE
from tests.model.batch import Batch
from tests.model.cases import cases
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    TRACING,
    VERIFICATION_REQUEST,
    WITHHELD,
    Client,
)
from tests.model.messages import Message, kinds, messages, rarely, request
from tests.model.play import RECIPIENT, Play
from tests.model.redundancy import ACTIONS, goes
from tests.model.tables import Place, Rows

TWO_DAYS_S = 2 * 24 * 60 * 60
VANISH = attrs.evolve(
    EVERY_RULE,
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)

# A device, and what it is asked for, as it names that.
Asked = tuple[Place, tuple[str, ...]]

DEVICES: list[Place] = [(RECIPIENT, "R"), (RECIPIENT, "R2")]
SENDERS = ["@s:here", "@t:there"]

senders = st.sampled_from(SENDERS)
devices = st.sampled_from(DEVICES)
targets = st.sampled_from(["R", "R", "R2", "*"])
# What happens while something is asked and taken back.
MOMENTS = [*ACTIONS, *ACTIONS, "all", "sync", "lose", "read", "answer"]


class AllRules(RuleBasedStateMachine):
    """Messages on their way to two devices, with the module and without."""

    @initialize(
        sees_reads=st.booleans(),
        vanishes=st.booleans(),
        found=st.lists(st.tuples(senders, messages), max_size=10),
    )
    def start(
        self, sees_reads: bool, vanishes: bool, found: list[tuple[str, Message]]
    ) -> None:
        """Make the devices, of which one has messages already, and load the module."""
        rules = VANISH if vanishes else EVERY_RULE
        sees_reads = sees_reads or vanishes
        self.play = Play(devices=["R", "R2"], sees_reads=sees_reads, rules=rules)
        Play.made.pop()
        self.hs = self.play.hs
        self.vanishes = vanishes
        # A sweep finds what was found before, and what was forgotten.
        self.is_tidy = not (vanishes or found)
        # What stock has for each device; what each client knows, and how far it got.
        self.stock: dict[Place, list[dict[str, Any]]] = {each: [] for each in DEVICES}
        self.clients = {each: Client() for each in DEVICES}
        self.tokens = dict.fromkeys(DEVICES, 0)
        self.under_way: dict[str, Batch] = {}
        self.messages = 0
        self.devices: dict[str, tuple[str, int]] = {}
        self.gone: set[tuple[str, str]] = set()
        # Up to where a device was handed out each request, and of which nobody can know
        # it any more. Of rows up to `unknown` the memory knows only what it finds.
        self.handed: dict[Asked, int] = {}
        self.exempt: set[Asked] = set()
        self.unknown = dict.fromkeys(DEVICES, 0)
        self.hs.register(SENDERS[0])
        for sender in SENDERS:
            self._log_in(sender)
            self.announce(sender)
        for sender, message in found:
            self.hs.put(DEVICES[0], self._said(sender, "R", message))
        self.watch()

    @rule(sender=senders, to=targets, message=messages)
    def send(self, sender: str, to: str, message: Message) -> None:
        """Send a message; a sender waits for the answer to the one before."""
        self.wait_for(sender)
        kind, said = message[0], self._said(sender, to, message)["content"]
        batch = self.play.begin(said, to, message_type=kind, sender=sender)
        self.under_way[sender] = batch
        assert not batch.waited or kind == WITHHELD

    @rule(
        sender=senders,
        device=devices,
        kind=kinds,
        about=rarely,
        happens=st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=7),
    )
    def ask(
        self, sender: str, device: Place, kind: str, about: str, happens: list[str]
    ) -> None:
        """Ask and take back, while the device that is asked reads."""
        for each in happens:
            if each in ACTIONS:
                self.send(sender, device[1], request(kind, each, "1", about))
            elif each == "all":
                # The device polls: it reads and acknowledges at once.
                self.send(sender, "*", request(kind, "request", "1", about))
                self.wait_for(sender)
                for _ in range(2):
                    self.sync(device, arrives=True, limit=None)
            elif each == "answer":
                self.answer(0)
            else:
                limit = 100 if each == "read" else None
                self.sync(device, arrives=each != "lose", limit=limit)

    def wait_for(self, sender: str) -> None:
        """Let the database answer until a sender has its answer."""
        while sender in self.under_way and self.under_way[sender].ended is None:
            self.answer(0)

    @rule(
        device=devices,
        arrives=st.booleans(),
        limit=st.sampled_from([1, 2, 100, None, None]),
    )
    def sync(self, device: Place, arrives: bool, limit: int | None) -> None:
        """Begin to answer a sync with a page, or answer it with all at once."""
        since = self.tokens[device]
        self.acknowledge(device, since)
        token = self.play.read(device[1])

        async def answer() -> None:
            rows = [*(await self.hs.read(*device, since, token)).items()]
            page = dict(rows[:limit])
            up_to = [*page][-1] if len(page) < len(rows) else token
            for asked, at in asked_in(device, page).items():
                self.handed[asked] = max(at, self.handed.get(asked, 0))
            if arrives and self.tokens[device] == since:
                self.clients[device].give(page.values())
                self.tokens[device] = up_to

        ensureDeferred(answer())
        if limit is None:
            self.hs.answer(self.hs.steps[-1])

    def acknowledge(self, device: Place, token: int) -> None:
        """Delete what arrived; what was not found by then, nobody will know of."""
        if not self.play.knows(device[1]):
            up_to = min(token, self.unknown[device])
            self.exempt |= {*asked_in(device, self.hs.mailbox(*device, up_to=up_to))}
        self.hs.acknowledge(*device, token)

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
        """Let the database answer everything."""
        self.hs.come_to_rest()
        assert [] == self.play.failures

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
        if sender == SENDERS[1]:
            self.hs.track(sender, self.devices[sender][0])

    @rule()
    def pass_days(self) -> None:
        """Let so much time pass that what has a time expires."""
        self.rest()
        self.hs.clock.advance(TWO_DAYS_S)

    @rule()
    def restart(self) -> None:
        """Lose all memory."""
        self.rest()
        self.play.load()
        self.watch()

    @invariant()
    def nothing_waits_or_overtakes(self) -> None:
        """I2, and I4."""
        self.play.check()

    @rule(device=devices)
    def evict(self, device: Place) -> None:
        """Forget a mailbox, as when others need the room."""
        if not self.is_tidy:
            self.play.memory.forget(device)

    def watch(self) -> None:
        """Note what a new memory forgets; it knows nothing yet."""
        memory: Any = self.play.memory
        forget = memory.forget

        def forget_and_note(device: Place) -> None:
            self.note_forgotten(device)
            forget(device)

        memory.forget = forget_and_note
        for device in DEVICES:
            self.note_forgotten(device)

    def note_forgotten(self, device: Place) -> None:
        self.unknown[device] = self.hs.next_stream_id - 1
        for asked, at in self.handed.items():
            still = asked_in(device, self.hs.mailbox(*device, up_to=at))
            if asked[0] == device and asked not in still:
                self.exempt.add(asked)

    def _said(self, sender: str, to: str, message: Message) -> dict[str, Any]:
        """Return what a sender says now, after it was queued where stock has it.

        Transactions with an even number have no time: there is one request of each.
        """
        kind, content = message[0], dict(message[1])
        own, now_ts = self.devices[sender]
        self.messages += 1
        if kind in {WITHHELD, KEY_REQUEST, SECRET_REQUEST}:
            content[TRACING] = str(self.messages)
        if "requesting_device_id" in content:
            content["requesting_device_id"] = own
        number = content.get("transaction_id", "")
        if number:
            content["transaction_id"] = own + number
        if kind == VERIFICATION_REQUEST:
            content["from_device"] = own
            content |= {"timestamp": now_ts} if int(number) % 2 else {}
        said = {"content": content, "type": kind, "sender": sender}
        for device in DEVICES if to == "*" else [(RECIPIENT, to)]:
            self.stock[device].append(said)
        return said

    def _log_in(self, sender: str) -> None:
        device = f"S{len(self.gone)}"
        self.devices[sender] = (device, self._now_ts())
        if sender == SENDERS[0]:
            self.hs.add_device(sender, device)

    def _now_ts(self) -> int:
        return self.hs.runtime().now_ts()

    def teardown(self) -> None:
        """Let everything arrive, and compare."""
        if not hasattr(self, "unknown"):
            return
        self.rest()
        self.play.check()
        self.check_swept()
        for device, module in self.clients.items():
            self.sync(device, arrives=True, limit=None)
            stock = Client()
            stock.give(self.stock[device])
            for client in (stock, module):
                client.forget(self._now_ts(), self.gone)
                for place, asked in self.exempt if self.vanishes else ():
                    if place == device:
                        client.asked.pop(asked, None)
            assert stock.knows == module.knows
            assert module.read <= stock.read
        steps = {step.name for step in self.hs.answered}
        event(f"vanished: {'withheld_delete_vanished' in steps}")
        event(f"exempt: {bool(self.exempt)}")

    def check_swept(self) -> None:
        """A sweep finds nothing but what became stale by itself."""
        before = {device: self.hs.mailbox(*device) for device in DEVICES}
        for user, device, at in self.play.sweep(self._now_ts()):
            rows = before[user, device]
            row, content = rows[at], rows[at]["content"]
            asker = content.get("requesting_device_id") or content.get("from_device")
            is_stale = (row["sender"], asker) in self.gone or "timestamp" in content
            is_redundant = any(
                goes(row, other, merge_scopes=True, newer_seen=False)
                for newer, other in rows.items()
                if newer > at
            )
            assert not self.is_tidy or (is_stale and not is_redundant)


def asked_in(device: Place, rows: Rows) -> dict[Asked, int]:
    """Return what a device is asked for by some rows, and by which."""
    found: dict[Asked, int] = {}
    for at, message in rows.items():
        client = Client()
        client.give([message])
        found.update({(device, request): at for request in client.asked})
    return found


TestAllRules = AllRules.TestCase
TestAllRules.settings = cases(steps=50)

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
import pytest
from hypothesis import event, given
from twisted.internet.defer import ensureDeferred

from synapse_withheld.config import RulesConfig
from tests.harness.rules import EVERY_RULE
from tests.model.batch import Batch
from tests.model.cases import cases
from tests.model.client import TRACING, VERIFICATION_REQUEST, WITHHELD, Client
from tests.model.messages import rarely, said, words
from tests.model.play import RECIPIENT, Play
from tests.model.tables import Rows
from tests.model.telling import Telling

VANISH = attrs.evolve(
    EVERY_RULE,
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)

# A device, and what it is asked for, as it names that.
Asked = tuple[str, tuple[str, ...]]

DEVICES = ["R", "R2"]
HERE, THERE = SENDERS = ["@s:here", "@t:there"]


class Clients(Telling):
    """A play at random, and what two clients know, with the module and without."""

    def __init__(self, play: Play, found: list[tuple[str, str]]) -> None:
        super().__init__(play, pytest.MonkeyPatch())
        self.vanishes = play.config.rules == VANISH
        # A sweep finds what was found before, and what was forgotten.
        self.is_tidy = not (self.vanishes or found)
        # What stock has for each device; what each client knows, and how far it got.
        self.stock: dict[str, list[dict[str, Any]]] = {each: [] for each in DEVICES}
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
        self.register()
        for sender in SENDERS:
            self._log_in(sender)
        self.announce()
        for sender, word in found:
            self.hs.put((RECIPIENT, "R"), self._said(sender, "R", word))
        self.watch()

    def say(self, word: str, to: str, sender: str) -> None:
        """Send a message; a sender waits for the answer to the one before."""
        self.wait_for(sender)
        message = self._said(sender, to, word)
        content, kind = message["content"], message["type"]
        batch = self.play.begin(content, to, message_type=kind, sender=sender)
        self.under_way[sender] = batch
        assert not batch.waited or kind == WITHHELD

    def wait_for(self, sender: str) -> None:
        while sender in self.under_way and self.under_way[sender].ended is None:
            self.go_on()

    def poll(self, device: str, limit: str, how: str = "") -> None:
        """Begin to answer a sync with a page, or answer it with all at once.

        What arrived before is deleted; what was not found by then, nobody will know of.
        """
        since = self.tokens[device]
        if not self.play.knows(device):
            self.exempt |= self._asks(device, min(since, self.unknown[device]))
        self.hs.acknowledge(RECIPIENT, device, since)
        token = self.play.read(device)

        async def answer() -> None:
            rows = [*(await self.hs.read(RECIPIENT, device, since, token)).items()]
            page = dict(rows if limit == "all" else rows[: int(limit)])
            up_to = [*page][-1] if len(page) < len(rows) else token
            for asked, at in asked_in(device, page).items():
                self.handed[asked] = max(at, self.handed.get(asked, 0))
            if how != "lost" and self.tokens[device] == since:
                self.clients[device].give(page.values())
                self.tokens[device] = up_to

        ensureDeferred(answer())
        if limit == "all":
            self.hs.answer(self.hs.steps[-1])
        if how == "twice":
            self.poll(device, limit)

    def rest(self) -> None:
        super().rest()
        assert [] == self.play.failures

    def log_out(self, sender: str) -> None:
        """Log in with another device; servers hear of it when they do."""
        device, _ = self.devices[sender]
        self.rest()
        self.hs.remove_device(sender, device)
        self.gone.add((sender, device))
        self._log_in(sender)

    def announce(self) -> None:
        """Let this server hear of the device of another one."""
        self.hs.track(THERE, self.devices[THERE][0])

    def restart(self) -> None:
        self.rest()
        super().restart()
        self.watch()

    def evict(self, device: str) -> None:
        """Forget a mailbox, as when others need the room."""
        if not self.is_tidy:
            self.forget(device)

    def watch(self) -> None:
        """Note what a new memory forgets; it knows nothing yet."""
        memory: Any = self.play.memory
        forget = memory.forget

        def forget_and_note(place: tuple[str, str]) -> None:
            self.note_forgotten(place[1])
            forget(place)

        memory.forget = forget_and_note
        for device in DEVICES:
            self.note_forgotten(device)

    def note_forgotten(self, device: str) -> None:
        self.unknown[device] = self.hs.next_stream_id - 1
        for asked, at in self.handed.items():
            if asked[0] == device and asked not in self._asks(device, at):
                self.exempt.add(asked)

    def _asks(self, device: str, up_to: int) -> set[Asked]:
        return {*asked_in(device, self.hs.mailbox(RECIPIENT, device, up_to=up_to))}

    def _said(self, sender: str, to: str, word: str) -> dict[str, Any]:
        """Return what a sender says now, after it was queued where stock has it.

        Transactions with an even number have no time: there is one request of each.
        """
        kind, content = said(word)
        own, now_ts = self.devices[sender]
        self.messages += 1
        if kind == WITHHELD or "requesting_device_id" in content:
            content[TRACING] = str(self.messages)
        if "requesting_device_id" in content:
            content["requesting_device_id"] = own
        number = content.get("transaction_id", "")
        if number:
            content["transaction_id"] = own + number
        if kind == VERIFICATION_REQUEST:
            content["from_device"] = own
            content |= {"timestamp": now_ts} if int(number) % 2 else {}
        message = {"content": content, "type": kind, "sender": sender}
        for device in DEVICES if to == "*" else [to]:
            self.stock[device].append(message)
        return message

    def _log_in(self, sender: str) -> None:
        device = f"S{len(self.gone)}"
        self.devices[sender] = (device, self.now_ts)
        if sender == HERE:
            self.hs.add_device(sender, device)

    @property
    def now_ts(self) -> int:
        return self.hs.runtime().now_ts()

    def end(self) -> None:
        """Let everything arrive, and compare."""
        self.rest()
        self.play.check()
        self.check_swept()
        for device, module in self.clients.items():
            self.poll(device, "all")
            stock = Client()
            stock.give(self.stock[device])
            for client in (stock, module):
                client.forget(self.now_ts, self.gone)
                for place, asked in self.exempt if self.vanishes else ():
                    if place == device:
                        client.asked.pop(asked, None)
            assert stock.knows == module.knows
            assert module.read <= stock.read

    def check_swept(self) -> None:
        """A sweep finds nothing but what became stale by itself."""
        before = {each: self.hs.mailbox(RECIPIENT, each) for each in DEVICES}
        for _, device, at in self.play.sweep(self.now_ts):
            sender, content = (
                before[device][at]["sender"],
                before[device][at]["content"],
            )
            asker = content.get("requesting_device_id") or content.get("from_device")
            is_stale = (sender, asker) in self.gone or "timestamp" in content
            assert is_stale or not self.is_tidy


def asked_in(device: str, rows: Rows) -> dict[Asked, int]:
    """Return what a device is asked for by some rows, and by which."""
    found: dict[Asked, int] = {}
    for at, message in rows.items():
        client = Client()
        client.give([message])
        found.update({(device, request): at for request in client.asked})
    return found


senders = st.sampled_from(SENDERS)
devices = st.sampled_from(DEVICES)
targets = st.sampled_from(["R", "R", "R2", "*"])
says = st.builds("say {} {} {}".format, words, targets, senders)
limits = st.sampled_from(
    ["1", "2", "100", "all", "all", "1 lost", "100 lost", "all lost"]
)

# What happens while something is asked and taken back.
MOMENTS = [
    *["say {kind[0]}.1.S1.{about} {device} {sender}"] * 2,
    *["say {kind[1]}.1 {device} {sender}"] * 2,
    # The device polls: it reads and acknowledges at once.
    "say {kind[0]}.1.S1.{about} * {sender}; wait-for {sender}; poll {device} all twice",
    *["poll {device} all", "poll {device} all lost", "poll {device} 100"],
    *["go-on", "rest"],
]
asks = st.builds(
    lambda happens, **more: "; ".join(happens).format(**more),
    st.lists(st.sampled_from(MOMENTS), min_size=3, max_size=9),
    sender=senders,
    device=devices,
    kind=st.sampled_from([("request", "cancel"), ("secret", "cancel-secret")]),
    about=rarely,
)
moves = st.one_of(
    # What a sequence that fails does not need becomes the first of them.
    st.sampled_from(["go-on", "rest", "restart", "announce", "rest; wait 172800"]),
    *(says, says, asks, asks, asks, asks),
    st.builds("poll {} {}".format, devices, limits),
    st.sampled_from("01234567").map("go-on {}".format),
    st.sampled_from("01").map("early {}".format),
    senders.map("log-out {}".format),
    devices.map("evict {}".format),
)


@cases(examples=1000)
@given(
    rules=st.sampled_from([EVERY_RULE, VANISH, VANISH]),
    sees_reads=st.booleans(),
    found=st.lists(st.tuples(senders, words), max_size=10),
    told=st.lists(moves, min_size=5, max_size=30),
)
def test_clients_know_what_they_would_know_without_the_module(
    rules: RulesConfig, sees_reads: bool, found: list[tuple[str, str]], told: list[str]
) -> None:
    sees_reads = sees_reads or rules == VANISH
    play = Play(devices=DEVICES, sees_reads=sees_reads, rules=rules)
    Play.made.pop()
    clients = Clients(play, found)
    for move in told:
        clients.tell(move)
        play.check()
    clients.end()
    event(f"vanished: {'vanish' in clients.see_asked()}")

"""Any sequence of events, in any order of answers, keeps the invariants.

With every rule on, however the module is configured otherwise, and with statements that
are answered late, fail or never come back. What it stores is compared with
`reference.py`, and what clients know in the end with what they would know without the
module. A sequence that fails is a play, in the words of `telling.py` and some more.
"""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import event, given
from twisted.internet.defer import ensureDeferred

from tests.harness.rules import EVERY_RULE
from tests.model.client import TRACING, VERIFICATION_REQUEST, Client
from tests.model.homeserver import LostError
from tests.model.messages import (
    AT_RANDOM,
    DEVICES,
    HERE,
    SENDERS,
    Message,
    finds,
    moves,
    places_of,
)
from tests.model.play import RECIPIENT, Play
from tests.model.reference import Reference
from tests.model.telling import Telling

VANISH = attrs.evolve(
    EVERY_RULE,
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)


class Events(Telling):
    """A play at random, held against the reference and against what clients know."""

    def __init__(self, play: Play, *, faults: bool) -> None:
        super().__init__(play, pytest.MonkeyPatch())
        self.faults = faults
        self.reference = Reference(play)
        # Not where something was found, forgotten or lost: that is learned later.
        self.is_tidy = not faults
        # What was found for each device and what it was given, and how far it got.
        self.found: dict[str, list[Any]] = {each: [] for each in DEVICES}
        self.given: dict[str, list[Any]] = {each: [] for each in DEVICES}
        self.tokens = dict.fromkeys([*DEVICES, "there"], 0)
        # Requests that a device knows, while the module forgot that: where their IDs
        # are used again, it may not hear that they were taken back.
        self.exempt: set[tuple[str, tuple[str, ...]]] = set()
        # From which device each sender asks.
        self.askers: dict[str, str] = {}
        self.hs.register(HERE)
        for sender in SENDERS:
            self._log_in(sender)
        self._watch()

    # What is sent.

    def said(self, word: str, sender: str) -> Message:
        """Return what a sender says now; one verification of two has no time."""
        kind, content = super().said(word, sender)
        content[TRACING] = str(len(self.play.batches))
        asker = self.askers.get(sender, "")
        if "requesting_device_id" in content:
            content["requesting_device_id"] = asker
        number = content.get("transaction_id", "")
        if number:
            content["transaction_id"] = asker + number
        if kind == VERIFICATION_REQUEST:
            content["from_device"] = asker
            content |= {"timestamp": self.reference.now_ts} if number == "1" else {}
        return kind, content

    def begin(self, *words: str) -> None:
        super().begin(*words)
        batch = self.play.batches[-1]
        assert self.play.config.enforces or not (batch.waited or batch.left_out)
        if batch.waited:
            self.reference.check_may_wait(batch)

    def fill(self, *words: str) -> None:
        super().fill(*words)
        self.is_tidy = False
        for device, found in self.found.items():
            found[:] = self.hs.mailbox(RECIPIENT, device).values()

    # What the database does, and the module.

    def rest(self) -> None:
        """Let everything come to rest, whatever was lost on the way."""
        self.free()
        self.hs.come_to_rest()
        if self.is_tidy:
            self.reference.check_at_rest()

    def upset(self, how: str, which: str) -> None:
        """Let a statement of the module be late, hang, fail, or lose its answer."""
        for step in self.hs.ours()[int(which) :][:1]:
            if how == "late":
                step.carry_out()
            elif how == "hangs":
                step.hangs = self.faults
            elif self.faults:
                self.hs.answer(step, LostError(), carried_out=how == "lost")

    def restart(self) -> None:
        self.rest()
        self.play.load()
        self._watch()

    def evict(self, device: str) -> None:
        """Forget a mailbox, as when others need the room."""
        if not self.is_tidy:
            self.play.memory.forget((RECIPIENT, device))

    def _watch(self) -> None:
        """Note what a new memory forgets; it knows nothing yet."""
        memory: Any = self.play.memory
        forget = memory.forget

        def forget_and_note(place: tuple[str, str]) -> None:
            self._exempt(place[1])
            forget(place)

        memory.forget = forget_and_note
        for device in DEVICES:
            self._exempt(device)

    def _exempt(self, device: str) -> None:
        known = self._client(self.given.get(device, []))
        self.exempt |= {(device, asked) for asked in known.asked}

    # Readers and devices.

    def poll(self, device: str, limit: str, how: str = "") -> None:
        """Begin to answer a sync with a page, or answer it with all at once.

        What arrived before is deleted.
        """
        since, place = self.tokens[device], (RECIPIENT, device)
        self.reference.deliver(lambda: self.hs.acknowledge(*place, since))
        token = self.play.read(device)
        reads = self.reference.reads.setdefault(place, [])
        reads.append((self.play.tick(), token))

        async def answer() -> None:
            rows = [*(await self.hs.read(*place, since, token)).items()]
            page = dict(rows if limit == "all" else rows[: int(limit)])
            up_to = [*page][-1] if len(page) < len(rows) else token
            if how != "lost" and self.tokens[device] == since:
                self.given[device] += page.values()
                self.tokens[device] = up_to
            if not self.play.knows(device):
                self._exempt(device)

        ensureDeferred(answer())
        if limit == "all":
            self.hs.answer(self.hs.steps[-1])

    def send_on(self) -> None:
        """Have the other server answer to what was sent last, and send the rest."""
        sent, self.tokens["there"] = self.tokens["there"], self.hs.stream_token()
        self.reference.deliver(lambda: self.hs.delete_sent("there", sent))

    def change(self, device: str) -> None:
        """Let a device upload keys, or be made again."""
        place = places_of(device)[0]
        self.hs.change_device(*place)
        self.reference.changes.setdefault(place, []).append(self.play.tick())

    def log_out(self, sender: str) -> None:
        """Log in with another device."""
        self.rest()
        self.hs.remove_device(sender, self.askers[sender])
        self.reference.logged_out.add((sender, self.askers[sender]))
        self._log_in(sender)

    def _log_in(self, sender: str) -> None:
        self.askers[sender] = f"D{len(self.reference.logged_out)}"
        log_in = self.hs.add_device if sender == HERE else self.hs.track
        log_in(sender, self.askers[sender])

    # In the end.

    def end(self) -> None:
        """Come to rest, and compare; a sweep finds only what became stale, and spoofs.

        What was left behind, the next notice for each mailbox tidies, in the same
        process: what it takes for learned has nothing left in it.
        """
        self.rest()
        enforces = self.play.config.enforces
        if not self.is_tidy:
            self.hs.pass_time(20)
            for device in (*DEVICES, "there/A1", "there/A2"):
                self.send("notice.key-1.PROBE", "to", device)
            self.reference.check_at_rest(anything_lost=True)
        self.play.check()
        self.reference.check()
        for device in DEVICES:
            self.poll(device, "all")
            stock, module = self._stock(device), self.given[device]
            assert len(module) <= len(stock)
            known = [self._client(each) for each in (stock, module)]
            for _, asked in (each for each in self.exempt if each[0] == device):
                for client in known:
                    client.asked.pop(asked, None)
            assert known[0].knows == known[1].knows
        for stream_id in self.reference.spoofed():
            self.hs.rows("DELETE FROM device_inbox WHERE stream_id = ?", stream_id)
        before = {each: self.hs.mailbox(RECIPIENT, each) for each in DEVICES}
        for _, device, at in self.play.sweep(self.reference.now_ts):
            assert self.reference.is_stale(before[device][at]) or not enforces

    def _stock(self, device: str) -> list[Any]:
        """Return what a device would have been sent without the module."""
        place = (RECIPIENT, device)
        stored = self.hs.stored.get(place, {})
        return self.found[device] + [
            batch.message_for(place)
            for batch in self.play.batches
            if batch.stream_id in stored or place in batch.left_out
        ]

    def _client(self, messages: list[Any]) -> Client:
        client = Client()
        client.give(each for each in messages if not self.reference.is_stale(each))
        return client


@AT_RANDOM
@given(
    rules=st.sampled_from([EVERY_RULE, VANISH]),
    merge_scopes=st.sampled_from([True, True, False]),
    repeat=st.sampled_from(["queued", "queued", "session"]),
    session_hold_ms=st.just(3_600_000),
    sees_reads=st.booleans(),
    mode=st.sampled_from(["enforce"] * 7 + ["observe"]),
    # With faults, there may be little room in the memory.
    room=st.sampled_from([(False, 1000), (True, 1000), (True, 30)]),
    found=st.just([]) | st.lists(finds, max_size=10),
    told=st.lists(moves(), min_size=20, max_size=60),
)
def test_any_sequence_of_events_keeps_the_invariants(
    room: tuple[bool, int], found: list[str], told: list[str], **config: Any
) -> None:
    faults, max_pairs = room
    # Nothing vanishes where reads are not seen.
    config["sees_reads"] |= config["rules"] == VANISH
    play = Play(devices=DEVICES, max_pairs=max_pairs, **config)
    Play.made.pop()
    events = Events(play, faults=faults)
    for move in [*found, *told]:
        events.tell(move)
        play.check()
    events.end()
    asked = {step.name for step in play.hs.answered}
    event(f"collapsed: {any(batch.left_out for batch in play.batches)}")
    event(f"vanished: {'withheld_delete_vanished' in asked}")

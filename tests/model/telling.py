"""Plays told in words: what is sent, what the database answers, and what is held.

A play is moves with a semicolon or a new line between them. A verb makes something
happen; a word with a colon says what is seen by then: `queued R2: 3 4` are the rows of
a device, by stream ID. Batches have numbers, too: `collapsed: 2` is the second of all.

    send notice; begin notice.new to R,R2 by @t:here; waiting: 2; rest; queued: 1 2

`send` lets everything come to rest, and `begin` leaves that to the play. Whom it is to
is `R` if nothing else is said, where `there/A` is a device of a user on another server,
and `D1-D300` are so many devices; whom it is from, `@s:here`.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain, repeat
from operator import attrgetter
from textwrap import dedent
from typing import Any, Callable, Iterable, Iterator
from unittest.mock import DEFAULT, Mock

import pytest
from twisted.python.failure import Failure

from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping import learning
from synapse_withheld.operators import series
from tests.model.batch import Batch
from tests.model.faults import LostError
from tests.model.homeserver import Step
from tests.model.messages import Message, said
from tests.model.play import ABROAD, CONFIRM, CONFIRM_ABROAD, RECIPIENT, SENDER, Play
from tests.model.tables import Place

# What statements are called here; others as they are.
STATEMENTS = {
    "confirm": CONFIRM,
    "confirm-abroad": CONFIRM_ABROAD,
    "learn": "withheld_read_mailboxes",
    "learn-abroad": "withheld_read_outboxes",
    "look-over": "withheld_read_ends",
    "list-devices": "withheld_read_devices",
    "list-gone": "withheld_read_gone",
    "tidy": "withheld_delete_superseded",
    "vanish": "withheld_delete_vanished",
}
NAMES = {name: short for short, name in STATEMENTS.items()}

# Bounds that a play may lower.
LIMITS: dict[str, Any] = {"MOST_OF_ONE": shares, "MOST_PAGES": learning}


class Telling:
    """A play, told one move after the other."""

    def __init__(self, play: Play, patch: pytest.MonkeyPatch) -> None:
        self.play, self.hs, self.patch = play, play.hs, patch
        # Verbs that say it all.
        self.step, self.steps = self.hs.take_step, self.hs.take_all_steps
        self.sync = play.sync
        self._asked = 0
        self._decided: Counter[str] = Counter()
        self.see_why()

    def tell(self, script: str) -> None:
        moves = [move.strip() for move in re.split("[;\n]", script) if move.strip()]
        for number, move in enumerate(moves):
            name, is_seen, _ = move.split("@")[0].partition(":")
            verb, *words = (name if is_seen else move).split()
            if not is_seen:
                getattr(self, verb.replace("-", "_"))(*words)
                continue
            seen = " ".join(map(str, getattr(self, f"see_{verb}")(*words)))
            if f"{name}: {seen}".strip() != move:
                before = "; ".join(moves[:number])
                pytest.fail(f"{name}: {seen}, not as in {move!r}, after: {before}")

    # What is sent.

    def begin(self, *words: str) -> None:
        parts = [*_parts(words)]
        (kind, _), _, more = parts[-1]
        contents: dict[Place, Any] = {}
        for (_, content), places, _ in parts:
            contents.update(dict.fromkeys(places, content))
        for _ in range(int(more.get("times", 1))):
            edu: Any = tuple(more["in"].split("/")) if "in" in more else None
            sender = more.get("by", SENDER)
            batch = self.play.begin_all(contents, kind, sender=sender, edu=edu)
            batch.answer.addErrback(Failure.trap, LostError)

    def send(self, *words: str) -> None:
        self.begin(*words)
        self.hs.come_to_rest()
        assert self.play.batches[-1].ended is not None

    def fill(self, *words: str) -> None:
        """Put rows into mailboxes that no module saw arrive."""
        for (kind, content), places, more in _parts(words):
            row = {"content": content, "type": kind, "sender": more.get("by", SENDER)}
            for place in places * int(more.get("times", 1)):
                self.hs.put(place, row)

    # What the database does, and time.

    def rest(self) -> None:
        self.hs.come_to_rest()

    def wait(self, seconds: str) -> None:
        self.hs.pass_time(float(seconds))

    def go_on(self, which: str = "0") -> None:
        """Let the database answer one of the waiting statements, or time pass."""
        self.hs.go_on(int(which))

    def early(self, which: str) -> None:
        """Carry out a statement of the module that is answered later."""
        for step in self.hs.ours()[int(which) :][:1]:
            step.carry_out()

    def until(self, name: str) -> None:
        self.play.until(STATEMENTS.get(name, name))

    def hold(self, name: str) -> None:
        for step in self._steps(name):
            step.hangs = True

    def free(self, name: str | None = None) -> None:
        """Let what hangs go on."""
        for step in self._steps(name):
            step.hangs = False

    def carry_out(self, name: str) -> None:
        self._steps(name)[0].carry_out()

    def answer(self, name: str) -> None:
        self.hs.answer(self._steps(name)[0])

    def lose(self, name: str, *on_its_way_back: str) -> None:
        """Lose a statement, or its answer if that is said."""
        step, lost = self._steps(name)[0], LostError()
        self.hs.answer(step, lost, carried_out=bool(on_its_way_back))

    def _steps(self, name: str | None) -> list[Step]:
        name = name and STATEMENTS.get(name, name)
        return [step for step in self.hs.steps if name in {None, step.name}]

    # Readers, devices and the module.

    def restart(self) -> None:
        self.play.load()

    def read(self, device: str = "R") -> None:
        self.play.read(device)

    def acknowledge(self, token: str) -> None:
        self.hs.acknowledge(RECIPIENT, "R", int(token))

    def transmit(self, token: str) -> None:
        self.hs.delete_sent("there", int(token))

    def doom(self, token: str) -> None:
        """Have what was queued by then deleted with its device."""
        self.hs.doom(RECIPIENT, "R", int(token))

    def add(self, devices: str) -> None:
        for place in places_of(devices):
            self.hs.add_device(*place)

    def remove(self, device: str) -> None:
        self.hs.remove_device(RECIPIENT, device)

    def change(self, device: str) -> None:
        self.hs.change_device(*places_of(device)[0])

    def register(self) -> None:
        self.hs.register(SENDER)

    def serve(self) -> None:
        """Have the recipient's messages read by an application service."""
        self.hs.service_users.add(RECIPIENT)

    def dehydrate(self) -> None:
        self.hs.rows("INSERT INTO dehydrated_devices VALUES (?, ?)", RECIPIENT, "R")

    def forget(self, device: str) -> None:
        self.play.memory.forget((RECIPIENT, device))

    def doubt(self, devices: str) -> None:
        for mailbox in map(self.play.memory.peek, places_of(devices)):
            assert mailbox is not None
            mailbox.doubt()

    def limit(self, name: str, number: str) -> None:
        self.patch.setattr(LIMITS[name], name, int(number))

    def fail(self, *methods: str, effect: Any = ZeroDivisionError) -> None:
        """Have methods of parts of the module raise, until it is mended."""
        for method in methods:
            path, _, name = method.rpartition(".")
            part = attrgetter(path)(self.play.traffic)
            owner = part if name in getattr(part, "__dict__", ()) else type(part)
            instead = Mock(wraps=getattr(part, name), side_effect=effect)
            self.patch.setattr(owner, name, instead)

    def fail_once(self, method: str) -> None:
        self.fail(method, effect=chain([ZeroDivisionError], repeat(DEFAULT)))

    def mend(self) -> None:
        self.patch.undo()

    # What is seen.

    def see_queued(self, device: str = "R") -> list[int]:
        return self.play.queued(device)

    def see_named(self, device: str = "R") -> list[int]:
        """All that is queued but text."""
        rows = self.hs.mailbox(RECIPIENT, device)
        return [at for at, row in rows.items() if row["type"] != "m.dummy"]

    def see_outbox(self, server: str = "there") -> list[int]:
        return [*self.hs.outbox(server)]

    def see_swept(self) -> list[int]:
        return sorted(at for *_, at in self.play.sweep())

    def see_waiting(self) -> list[int]:
        return self._numbers(self.play.waiting)

    def see_handed(self) -> list[int]:
        return self._numbers(self.play.handed_on)

    def see_collapsed(self) -> list[int]:
        """Of what something was not handed on, in the end."""
        return self._numbers(each for each in self.play.batches if each.left_out)

    def _numbers(self, batches: Iterable[Batch]) -> list[int]:
        return [self.play.batches.index(batch) + 1 for batch in batches]

    def see_asked(self) -> list[str]:
        """The module's statements since they were looked at last."""
        steps = [*self.hs.answered, *self.hs.steps]
        ours = [NAMES.get(step.name, step.name) for step in steps if step.is_ours]
        before, self._asked = self._asked, len(ours)
        return ours[before:]

    def see_why(self) -> list[str]:
        """What was decided since it was looked at last."""
        counts: Counter[str] = Counter()
        for labels, times in self.play.traffic.metrics.read(series.DECISIONS):
            counts[labels["reason"]] += int(times)
        new, self._decided = counts - self._decided, counts
        return [f"{why}*{new[why]}" if new[why] > 1 else why for why in sorted(new)]

    def see_unknown(self) -> list[str]:
        """Devices of whose mailboxes not all is known."""
        devices = self.hs.devices(RECIPIENT)
        return [device for device in devices if not self.play.knows(device)]

    def see_remembered(self, queue: str = "here") -> list[int]:
        """How many mailboxes, and how many records."""
        traffic = self.play.traffic
        memory = (traffic.inbox if queue == "here" else traffic.outbox).memory
        return [len(memory), memory.pairs]


def plays(**config: Any) -> Callable[[str], Any]:
    """Return what makes a test of each play in a text, with the module configured so.

    In a text, the moves of a play are indented below its title.
    """

    def tests(text: str) -> Any:
        found = re.findall(r"^(\S.*)\n((?: .*\n)+)", dedent(text), re.MULTILINE)
        told = [pytest.param(script, id=title) for title, script in found]

        @pytest.mark.parametrize("script", told)
        def test(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
            Telling(Play(**config), monkeypatch).tell(script)

        return test

    return tests


def _parts(
    words: tuple[str, ...],
) -> Iterator[tuple[Message, list[Place], dict[str, str]]]:
    """Return each message, whom it is to, and what else is said of it."""
    for part in " ".join(words).split(" + "):
        what, *others = part.split(" ")
        more = dict(zip(others[::2], others[1::2]))
        yield said(what), places_of(more.get("to", "R")), more


def places_of(text: str) -> list[Place]:
    places = []
    for each in text.split(","):
        *of, device = each.rsplit("/", 1)
        user_id = {"": RECIPIENT, "there": ABROAD}.get("".join(of), "".join(of))
        many = re.fullmatch(r"([A-Z]+)(\d+)-[A-Z]+(\d+)", device)
        if many is None:
            places.append((user_id, device))
        else:
            name, first, last = many.groups()
            numbers = range(int(first), int(last) + 1)
            places += [(user_id, f"{name}{number}") for number in numbers]
    return places

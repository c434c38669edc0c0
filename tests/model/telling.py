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
from operator import attrgetter
from textwrap import dedent
from typing import Any, Callable, Iterable
from unittest.mock import DEFAULT, Mock

import pytest
from twisted.python.failure import Failure

from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping import learning, tidying
from synapse_withheld.operators import series
from tests.model.batch import Batch
from tests.model.homeserver import LostError, Step
from tests.model.messages import Message, parts_of, places_of, said
from tests.model.play import CONFIRM, RECIPIENT, SENDER, Play
from tests.model.tables import Place

# What statements are called here; others as they are.
STATEMENTS = {
    "confirm": CONFIRM,
    "confirm-abroad": "withheld_read_queued_edus",
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
LIMITS: dict[str, Any] = {
    "MOST_DELETED": tidying,
    "MOST_OF_ONE": shares,
    "MOST_PAGES": learning,
}


class Telling:
    """A play, told one move after the other."""

    def __init__(self, play: Play, patch: pytest.MonkeyPatch) -> None:
        self.play, self.hs, self.patch = play, play.hs, patch
        self._asked = 0
        self._decided: Counter[str] = Counter()
        self._reasons()
        # Verbs that are no methods, and what is seen.
        self.verbs, self.seen = self._verbs(), self._seen()

    def tell(self, script: str) -> None:
        moves = [move.strip() for move in re.split("[;\n]", script) if move.strip()]
        for number, move in enumerate(moves):
            name, is_seen, _ = move.split("@")[0].partition(":")
            verb, *words = (name if is_seen else move).split()
            if not is_seen:
                do = getattr(self, verb.replace("-", "_"), None) or self.verbs[verb]
                do(*words)
                continue
            seen = " ".join(map(str, self.seen[verb](*words)))
            if f"{name}: {seen}".strip() != move:
                before = "; ".join(moves[:number])
                pytest.fail(f"{name}: {seen}, not as in {move!r}, after: {before}")

    def _verbs(self) -> dict[str, Callable[..., Any]]:
        play, hs, device = self.play, self.hs, (RECIPIENT, "R")
        dehydrate = "INSERT INTO dehydrated_devices VALUES (?, ?)"
        return {
            # What the database does, and time.
            "step": hs.take_step,
            "steps": hs.take_all_steps,
            "rest": hs.come_to_rest,
            "wait": lambda seconds: hs.pass_time(float(seconds)),
            "go-on": lambda which="0": hs.go_on(int(which)),
            "until": lambda name: play.until(STATEMENTS[name]),
            "answer": lambda name: hs.answer(self._steps(name)[0]),
            "carry-out": lambda name: self._steps(name)[0].carry_out(),
            # Readers and devices; what is doomed is being deleted with its device, and
            # what is served goes to an application service.
            "read": play.read,
            "sync": play.sync,
            "acknowledge": lambda token: hs.acknowledge(*device, int(token)),
            "transmit": lambda token: hs.delete_sent("there", int(token)),
            "doom": lambda token: hs.doom(*device, int(token)),
            "remove": lambda name: hs.remove_device(RECIPIENT, name),
            "change": lambda name: hs.change_device(*places_of(name)[0]),
            "register": lambda: hs.register(SENDER),
            "serve": lambda: hs.service_users.add(RECIPIENT),
            "dehydrate": lambda: hs.rows(dehydrate, *device),
            # The module.
            "restart": play.load,
            "forget": lambda name: play.memory.forget((RECIPIENT, name)),
            "limit": lambda name, to: self.patch.setattr(LIMITS[name], name, int(to)),
            "mend": self.patch.undo,
        }

    def _seen(self) -> dict[str, Callable[..., Iterable[Any]]]:
        play, hs = self.play, self.hs
        return {
            "queued": play.queued,
            "outbox": lambda server="there": hs.outbox(server),
            "swept": lambda: sorted(at for *_, at in play.sweep()),
            "waiting": lambda: self._numbers(play.waiting),
            "handed": lambda: self._numbers(play.handed_on),
            # Of what something was not handed on, in the end.
            "collapsed": lambda: self._numbers(
                each for each in play.batches if each.left_out
            ),
            "asked": self._statements,
            "why": self._reasons,
            # Devices of whose mailboxes not all is known.
            "unknown": lambda: [
                each for each in hs.devices(RECIPIENT) if not play.knows(each)
            ],
            "remembered": self._remembered,
        }

    # What is sent.

    def said(self, word: str, sender: str) -> Message:
        """Return what a sender says with a word."""
        del sender  # random plays ask
        return said(word)

    def begin(self, *words: str) -> None:
        parts = [*parts_of(*words)]
        more = parts[-1][-1]
        sender = more.get("by", SENDER)
        contents: dict[Place, Any] = {}
        for word, places, _ in parts:
            kind, content = self.said(word, sender)
            contents.update(dict.fromkeys(places, content))
        for _ in range(int(more.get("times", 1))):
            edu: Any = tuple(more["in"].split("/")) if "in" in more else None
            batch = self.play.begin_all(contents, kind, sender=sender, edu=edu)
            batch.answer.addErrback(Failure.trap, LostError)

    def send(self, *words: str) -> None:
        self.begin(*words)
        self.hs.come_to_rest()
        assert self.play.batches[-1].ended is not None

    def fill(self, *words: str) -> None:
        """Put rows into mailboxes that no module saw arrive."""
        for word, places, more in parts_of(*words):
            sender = more.get("by", SENDER)
            kind, content = self.said(word, sender)
            row = {"content": content, "type": kind, "sender": sender}
            for place in places * int(more.get("times", 1)):
                self.hs.put(place, row)

    def hold(self, name: str) -> None:
        for step in self._steps(name):
            step.hangs = True

    def free(self, name: str | None = None) -> None:
        for step in self._steps(name):
            step.hangs = False

    def lose(self, name: str, *on_its_way_back: str) -> None:
        """Lose a statement, or its answer if that is said."""
        step, lost = self._steps(name)[0], LostError()
        self.hs.answer(step, lost, carried_out=bool(on_its_way_back))

    def _steps(self, name: str | None) -> list[Step]:
        name = name and STATEMENTS.get(name, name)
        return [step for step in self.hs.steps if name in {None, step.name}]

    def add(self, devices: str) -> None:
        for place in places_of(devices):
            self.hs.add_device(*place)

    def doubt(self, devices: str) -> None:
        for mailbox in map(self.play.memory.peek, places_of(devices)):
            assert mailbox is not None
            mailbox.doubt()

    def fail(self, *methods: str, effect: Any = ZeroDivisionError) -> None:
        for method in methods:
            path, _, name = method.rpartition(".")
            part = attrgetter(path)(self.play.traffic)
            owner = part if name in getattr(part, "__dict__", ()) else type(part)
            instead = Mock(wraps=getattr(part, name), side_effect=effect)
            self.patch.setattr(owner, name, instead)

    def fail_once(self, method: str) -> None:
        self.fail(method, effect=[ZeroDivisionError, *[DEFAULT] * 99])

    # What is seen.

    def _numbers(self, batches: Iterable[Batch]) -> list[int]:
        return [self.play.batches.index(batch) + 1 for batch in batches]

    def _statements(self) -> list[str]:
        """The module's statements since they were looked at last."""
        steps = [*self.hs.answered, *self.hs.steps]
        ours = [NAMES.get(step.name, step.name) for step in steps if step.is_ours]
        before, self._asked = self._asked, len(ours)
        return ours[before:]

    def _reasons(self) -> list[str]:
        """What was decided since it was looked at last."""
        counts: Counter[str] = Counter()
        for labels, times in self.play.traffic.metrics.read(series.DECISIONS):
            counts[labels["reason"]] += int(times)
        new, self._decided = counts - self._decided, counts
        return [f"{why}*{new[why]}" if new[why] > 1 else why for why in sorted(new)]

    def _remembered(self, queue: str = "here") -> list[int]:
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

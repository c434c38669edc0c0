"""A comparison finds what is lost, and nothing where all is redundant."""

from __future__ import annotations

from typing import Any, Callable, cast

import pytest

from tests.harness.messages import ENCRYPTED, PLAIN, WITHHELD, make_message
from tests.model.client import TRACING
from tests.soak.comparing import Comparison
from tests.soak.history import History
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import make_people
from tests.soak.talk import Said


class Told:
    """One device sends another messages; what befalls them is told in words."""

    def __init__(self) -> None:
        nothing = cast("Any", None)
        self.life = Life(0, make_people(2, 0, 0))
        self.stock = Lane("stock", nothing, nothing, nothing)
        self.module = Lane("module", nothing, nothing, nothing)
        self.sender, self.recipient = (user.devices[0] for user in self.life.people)
        for lane in (self.stock, self.module):
            lane.histories[self.recipient.place] = History(0)
        self.on_stock, self.on_module = (
            lane.histories[self.recipient.place] for lane in (self.stock, self.module)
        )

    def happen(self, what: str, *numbers: int) -> None:
        """Send a message, which stock Synapse gives, or give some with the module."""
        contents: dict[str, tuple[str, Callable[[], Any]]] = {
            "notice": (WITHHELD, lambda: self.sender.notice(0)),
            "plain": (PLAIN, dict),
            "olm": (ENCRYPTED, lambda: self.sender.encrypted_for(self.recipient)),
            "answer": (ENCRYPTED, lambda: self.recipient.encrypted_for(self.sender)),
        }
        if what in contents:
            (number,), (kind, make) = numbers, contents[what]
            self._send(number, kind, make(), is_answer=what == "answer")
        elif what == "died":
            self.module.deaths.append((20.0, 30.0))
        elif what == "cut_off":
            self.module.patience.cut_off.update(numbers)
        else:
            step = {"read": 2, "given": 100}[what]
            messages = [self.on_stock.given[number] for number in numbers]
            self.on_module.begun[step] = 10 * step
            self.on_module.read(step, messages, again=False)

    def _send(self, number: int, kind: str, content: Any, *, is_answer: bool) -> None:
        sender, recipient = self.sender, self.recipient
        if is_answer:
            sender, recipient = recipient, sender
        content = {**content, TRACING: str(number)}
        messages = {recipient.user: {recipient.device_id: content}}
        self.life.sent[number] = Said(sender, kind, messages)
        self.module.asked[number] = 10 * number, 10 * number
        if not is_answer:
            message = make_message(sender.user.user_id, content, kind)
            self.on_stock.given[number] = message


LOST, OTHERWISE = ": lost: ", "knows otherwise"
# What happens, by the numbers of the messages, and what is wrong with it. What is read
# is read in step 2, what is given in the end.
CASES = {
    "all are given": ("notice 1, notice 2, given 1 2", ()),
    "the second collapsed": ("notice 1, notice 2, given 1", ()),
    "the first was superseded": ("notice 1, notice 2, given 2", ()),
    "no rule names it": ("notice 1, plain 2, given 1", (LOST, OTHERWISE)),
    "an Olm message passed": ("notice 1, olm 2, notice 3, given 1 2", (LOST,)),
    "one passed back": ("notice 1, answer 2, notice 3, given 1", (LOST,)),
    "the older one was read": ("notice 1, read 1, notice 3, given", (LOST,)),
    "the newer one came after the read": ("notice 1, read, notice 3, given 3", (LOST,)),
    "nobody knows what passed at a start": (
        "notice 1, died, notice 4, given 1",
        (LOST,),
    ),
    "order, and repeats of what was not cut off": (
        "plain 1, plain 2, plain 3, cut_off 1, given 1 1 3 2 2",
        ("twice on module", "out of order on module", OTHERWISE),
    ),
}


@pytest.mark.parametrize(("events", "problems"), CASES.values(), ids=CASES)
def test_what_is_no_duplicate_is_missed(events: str, problems: tuple[str, ...]) -> None:
    """And of what is one nothing is said."""
    told = Told()
    for event in events.split(", "):
        what, *numbers = event.split()
        told.happen(what, *map(int, numbers))
    comparison = Comparison(told.life, told.stock, told.module)
    comparison.compare()
    assert len(problems) == len(comparison.problems)
    assert all(map(str.__contains__, comparison.problems, problems))

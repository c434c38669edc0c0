"""A comparison finds what is lost, and nothing where all is redundant."""

from __future__ import annotations

from typing import Any, Iterable, cast

import attrs
import pytest

from tests.harness.clients.messages import ENCRYPTED, PLAIN, WITHHELD, make_message
from tests.model.client import TRACING
from tests.soak.comparing import Comparison
from tests.soak.history import History
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import Device, make_people
from tests.soak.talk import Said


@attrs.define
class Told:
    """One device sends another messages, which both homeservers take."""

    life: Life = attrs.Factory(lambda: Life(0, make_people(2, 0, 0)))
    stock: Lane = attrs.Factory(lambda: _lane("stock"))
    module: Lane = attrs.Factory(lambda: _lane("module"))

    @property
    def ends(self) -> tuple[Device, Device]:
        sender, recipient = self.life.people
        return sender.devices[0], recipient.devices[0]

    def send(self, number: int, kind: str = WITHHELD, back: bool = False) -> None:
        """Send a message, and give it to the recipient on stock Synapse."""
        sender, recipient = reversed(self.ends) if back else self.ends
        content = {PLAIN: {}, WITHHELD: sender.notice(0)}.get(kind)
        if content is None:
            content = sender.encrypted_for(recipient)
        content = {**content, TRACING: str(number)}
        messages = {recipient.user: {recipient.device_id: content}}
        self.life.sent[number] = Said(sender, kind, messages)
        self.module.asked[number] = 10 * number, 10 * number
        if not back:
            message = make_message(sender.user.user_id, content, kind)
            self.history(self.stock).given[number] = message

    def give(self, *numbers: int, in_step: int = 100) -> None:
        """Give the recipient messages with the module."""
        given = self.history(self.stock).given
        messages = [given[number] for number in numbers]
        self.history(self.module).begun[in_step] = 10 * in_step
        self.history(self.module).read(in_step, messages, again=False)

    def history(self, lane: Lane) -> History:
        return lane.histories.setdefault(self.ends[1].place, History(0))

    def problems(self) -> list[str]:
        comparison = Comparison(self.life, self.stock, self.module)
        comparison.compare()
        return comparison.problems


def _lane(name: str) -> Lane:
    nothing = cast("Any", None)
    return Lane(name, nothing, nothing, nothing)


@pytest.fixture
def told() -> Told:
    """Return people to whom nothing happened yet."""
    return Told()


@pytest.mark.parametrize("given", [(1, 2), (1,), (2,)])
def test_one_of_two_equal_notices_is_enough(told: Told, given: Iterable[int]) -> None:
    """The second collapsed, or the first was superseded."""
    told.send(1)
    told.send(2)
    told.give(*given)
    assert told.problems() == []


def test_a_message_that_no_rule_names_is_lost(told: Told) -> None:
    """And is reported twice: the client knows otherwise, too."""
    told.send(1)
    told.send(2, PLAIN)
    told.give(1)
    lost, knows = told.problems()
    assert ": lost: " in lost
    assert "knows otherwise" in knows


@pytest.mark.parametrize("back", [False, True])
def test_a_notice_after_an_olm_message_is_no_duplicate(told: Told, back: bool) -> None:
    """Whoever of the two sent it."""
    told.send(1)
    told.send(2, ENCRYPTED, back=back)
    told.send(3)
    told.give(1, *([] if back else [2]))
    (lost,) = told.problems()
    assert ": lost: " in lost


def test_a_notice_after_a_read_is_no_duplicate(told: Told) -> None:
    """Even if what was read was not acknowledged."""
    told.send(1)
    told.give(1, in_step=2)
    told.send(3)
    told.give()
    (lost,) = told.problems()
    assert ": lost: " in lost


def test_a_notice_is_not_superseded_by_one_that_came_after_the_read(told: Told) -> None:
    """The device was to be given it then."""
    told.send(1)
    told.give(in_step=2)
    told.send(3)
    told.give(3)
    (lost,) = told.problems()
    assert ": lost: " in lost


def test_what_was_found_at_a_start_is_no_reason_to_collapse(told: Told) -> None:
    """Nobody knows what passed since."""
    told.send(1)
    told.module.deaths.append((20.0, 30.0))
    told.send(4)
    told.give(1)
    (lost,) = told.problems()
    assert ": lost: " in lost


def test_order_and_repeats_are_looked_at(told: Told) -> None:
    """But for what had to be sent again."""
    for number in (1, 2, 3):
        told.send(number, PLAIN)
    told.module.patience.cut_off.add(1)
    told.give(1, 1, 3, 2, 2)
    twice, unordered, *_ = told.problems()
    assert "twice on module" in twice
    assert "out of order on module" in unordered

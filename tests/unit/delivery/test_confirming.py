"""Confirming: who is asked about when, and who is let go, in which order."""

from __future__ import annotations

from unittest.mock import Mock

import attrs
import pytest

from synapse_withheld.database.cancelling import Cancellable
from synapse_withheld.delivery.confirming import confirmer as confirming
from synapse_withheld.delivery.confirming.confirmer import (
    MOST_REST_S,
    MOST_WAIT_S,
    PATIENCE_S,
    REST_S,
)
from synapse_withheld.memory.memory import Record
from synapse_withheld.operators import series
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import RowState
from synapse_withheld.wiring import CANCEL_AFTER_S
from tests.model.faults import LostError
from tests.model.homeserver import Step
from tests.model.play import (
    CONFIRM,
    CONFIRM_ABROAD,
    NEW_KEY,
    NOTICE,
    RECIPIENT,
    SENDER,
    WITHHELD,
    Play,
)
from tests.unit.delivery.played import (
    Asked,
    answer,
    counting,
    known,
    reasons,
    said,
    store,
)


def devices(asked: Asked) -> list[str]:
    """Return the devices that each statement asked about."""
    return ["".join(key[1] for key, _ in each) for each in asked(CONFIRM)]


def test_how_long_each_batch_waited_is_counted() -> None:
    """As one process in the background, which Synapse's own metrics tell of."""
    play = known("A")
    confirmer, waited = play.traffic.confirmer, Mock()
    as_process = Mock(wraps=confirmer.runtime.as_process)
    confirmer.runtime = attrs.evolve(confirmer.runtime, as_process=as_process)
    play.traffic.metrics.confirmed_in = waited
    play.hs.clock.advance(3)
    play.begin(NOTICE, "A")
    play.hs.clock.advance(0.25)
    answer(play)

    waited.assert_called_once_with(pytest.approx(0.25))
    assert "withheld_confirm" == as_process.call_args.args[0]
    stages = counting(play, series.FAILURES, "stage")
    waited.side_effect = ZeroDivisionError
    assert play.send(NOTICE, "A").left_out
    assert {"record": 1} == stages()


def test_a_statement_is_about_so_many_rows(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And however many wait for one row, so many are looked at to find them."""
    monkeypatch.setattr(confirming, "MOST_ROWS", 2)
    monkeypatch.setattr(confirming, "MOST_LOOKED_AT", 3)
    play = known("ABC")
    duplicates = [play.begin(NOTICE, [*each]) for each in ["ABC", *"AAAAB"]]
    for _ in range(4):
        answer(play)

    assert ["AB", "CA", "A", "B"] == devices(asked)
    assert all(each.left_out for each in duplicates)


def test_queues_take_turns() -> None:
    play = known("ABC")
    play.send_abroad(NOTICE)
    play.begin(NOTICE, "A")
    play.begin(NOTICE, "B")
    play.begin_abroad(NOTICE)
    play.hs.take_step()
    play.begin_abroad(NOTICE)
    play.begin(NOTICE, "C")

    assert [CONFIRM_ABROAD, CONFIRM, CONFIRM_ABROAD] == play.hs.come_to_rest()


def test_nobody_is_asked_about_who_was_let_go(asked: Asked) -> None:
    """Who waits behind them is not held up for another statement."""
    play = Play(devices="ABCD")
    for do in (play.send, play.begin):
        for device in "ABCD":
            do(NOTICE, device, sender=f"@{device}:here")
    play.begin({}, "C", message_type="m.dummy", sender="@C:here")
    answer(play)

    assert ["A", "BD"] == devices(asked)


def test_after_a_failed_statement_there_is_a_rest() -> None:
    """Who was asked about failed, others pass; doubled up to a bound."""
    play = known("AB")
    count = reasons(play)
    notices = [play.begin(NOTICE, device) for device in "AB"]
    answer(play, LostError())
    assert all(each.handed for each in notices)
    play.hs.take_all_steps()
    assert {"failed": 1, "resting": 1} == count()

    def rests(seconds: float) -> None:
        play.hs.clock.advance(seconds - 0.01)
        assert decisions.RESTING is play.traffic.confirmer.passes
        play.hs.clock.advance(0.02)
        assert play.traffic.confirmer.passes is None

    for rest_s in (REST_S, 2 * REST_S, 4 * REST_S, 8 * REST_S, *[MOST_REST_S] * 2):
        rests(rest_s)
        play.begin(NOTICE, "A")
        answer(play, LostError())
    rests(MOST_REST_S)
    play.begin(NOTICE, "A")
    answer(play)
    play.begin(NOTICE, "A")
    answer(play, LostError())
    rests(REST_S)


def test_while_a_statement_is_overdue_everybody_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits is let go; it is cancelled in the end, and asked again after it."""
    cancel = Mock()
    monkeypatch.setattr(Cancellable, "cancel", cancel)
    play = known("AB")
    count = reasons(play)
    notices = [play.begin(NOTICE, device) for device in "AB"]
    play.hs.clock.advance(PATIENCE_S - 0.01)
    assert [None, None] == [each.handed for each in notices]
    play.hs.clock.advance(0.02)
    assert all(each.handed for each in notices)
    assert decisions.OVERDUE is play.traffic.confirmer.passes
    play.hs.clock.advance(CANCEL_AFTER_S - PATIENCE_S - 0.02)
    cancel.assert_not_called()
    play.hs.clock.advance(0.02)
    cancel.assert_called_once()
    answer(play)
    assert play.traffic.confirmer.passes is None
    assert [] == play.hs.clock.getDelayedCalls()

    play.hs.take_all_steps()
    assert {"overdue": 2} == count()


def test_nobody_waits_longer_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered by then stays so; those who came later wait on."""
    monkeypatch.setattr(confirming, "MOST_ROWS", 1)
    play = known("ABCDE")
    first = play.begin(NOTICE, [*"ABCDE"])
    play.hs.clock.advance(0.4)
    answer(play)
    later = play.begin(NOTICE, [*"ABC"])
    play.hs.clock.advance(0.4)
    answer(play)
    play.hs.clock.advance(MOST_WAIT_S - 0.81)
    assert first.handed is None
    play.hs.clock.advance(0.02)
    assert {(RECIPIENT, "A"), (RECIPIENT, "B")} == first.left_out
    answer(play)
    play.hs.clock.advance(0.38)
    assert later.handed is None
    play.hs.clock.advance(0.02)
    assert later.handed is not None


def test_one_that_came_long_ago_does_not_wait() -> None:
    """Nor does the next, after the clock was looked at."""
    play = known("A")

    def take_long() -> int:
        play.hs.clock.advance(MOST_WAIT_S)
        return 0

    play.traffic.inbox.device_list_id = take_long
    for _ in range(2):
        notice = play.begin(NOTICE, "A")
        play.hs.clock.advance(0)
        assert notice.handed is not None
        answer(play)


@pytest.mark.parametrize("some", ["A", "AB"])
def test_a_row_that_was_replaced_is_asked_about_again(asked: Asked, some: str) -> None:
    """What is believed by then counts; one that is still there confirms it, too."""
    play = known(some)
    message = {"content": NOTICE, "type": WITHHELD, "sender": SENDER}

    def replace() -> None:
        for place in [(RECIPIENT, device) for device in some]:
            now = play.hs.device_list_id()
            storing = play.memory.begin(place, said(), SENDER, now, 0.0)
            play.memory.settle(storing, play.hs.put(place, message))

    duplicate = play.begin(NOTICE, [*some])
    replace()
    for device in some:
        play.hs.acknowledge(RECIPIENT, device, 1)
    answer(play)
    assert duplicate.handed is None
    replace()
    answer(play)

    asked_about = [[(key[1], row) for key, row in each] for each in asked(CONFIRM)]
    assert [[(each, 1) for each in some], [*zip(some, (2, 3))]] == asked_about
    assert duplicate.said.keys() == duplicate.left_out


def test_one_that_is_seen_to_be_queued_is_held_from_then() -> None:
    """From when it was asked about: it may have gone since."""
    play = known("A", repeat="session")
    play.hs.clock.advance(10)
    asked_s = play.hs.clock.seconds()
    play.begin(NOTICE, "A")
    play.hs.clock.advance(0.25)
    answer(play)

    assert [asked_s] == [
        each.queued_s for each in play.memory.open((RECIPIENT, "A"), 0)
    ]


@pytest.mark.parametrize(
    ("state", "is_held", "expected"),
    [
        (None, True, decisions.UNKNOWN_DEVICE),
        (RowState(device_list_id=3), False, decisions.DUPLICATE),
        (RowState(queued=False), True, decisions.HELD),
        (RowState(queued=False), False, decisions.NOT_QUEUED),
        (RowState(device_list_id=4), False, decisions.DEVICE_CHANGED),
        (RowState(queued=False, device_list_id=4), True, decisions.NOT_QUEUED),
        (RowState(never_acknowledged=True), False, decisions.NEVER_ACKNOWLEDGED),
    ],
)
def test_what_became_of_a_row_decides(
    state: RowState | None, is_held: bool, expected: Decision
) -> None:
    believed = Record(1, said(), (RECIPIENT, "A"), SENDER, device_list_id=3)

    assert expected is confirming._decide(believed, state, is_held=is_held)


def test_of_what_is_stored_the_first_belief_is_asked_about(asked: Asked) -> None:
    """In `observe`: its own row has taken the place; it overtakes nobody."""
    play = known("A", mode="observe")
    count = reasons(play)
    store(play, NOTICE, "A")
    store(play, NEW_KEY, "A")
    answer(play)

    assert [[((RECIPIENT, "A"), 1)]] == asked(CONFIRM)
    assert {"duplicate": 1, "new_key": 1} == count()


def test_what_is_stored_while_others_are_let_go_overtakes_none_of_them() -> None:
    """One that ends at once may bring the next of the same sender with it."""
    play = known("AB")
    waiting = [play.begin(NOTICE, device) for device in "AB"]
    brought = []

    def bring_the_next(_: Step) -> None:
        play.hs.on_step = lambda _: None
        brought.append(play.begin({}, "B", message_type="m.dummy"))

    play.hs.on_step = bring_the_next
    last = play.begin({}, ["A", "B"], message_type="m.dummy")

    assert [*waiting, *brought, last] == play.handed_on[1:]

"""Work in the background: one statement at a time, with rests, in nobody's way.

And what redundant rows are deleted, when, and what becomes of their mailboxes.
"""

from __future__ import annotations

from itertools import chain, repeat
from unittest.mock import Mock

import attrs
import pytest

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import RulesConfig
from synapse_withheld.database.database import Database
from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping.housekeeper import (
    CANCEL_AFTER_S,
    LOOK_AGAIN_S,
    REST_S,
    REST_TIMES,
)
from synapse_withheld.delivery.shares import MOST_TRIES
from synapse_withheld.operators import series
from tests.model.faults import LostError
from tests.model.play import NEW_KEY, NOTICE, RECIPIENT, Play
from tests.unit.delivery.conftest import Asked
from tests.unit.delivery.played import (
    answer,
    counting,
    having,
    keeper,
    known,
    store,
)
from tests.unit.rules.test_requests import CANCELLATION, KEY, REQUEST

LEARN, DELETE = "withheld_read_mailboxes", "withheld_delete_superseded"
R = (RECIPIENT, "R")


def test_after_each_statement_there_is_a_rest() -> None:
    play = Play()
    play.fill("R", [NOTICE] * 2)
    store(play, NOTICE)
    play.hs.clock.advance(0.5)
    play.hs.answer(play.step(LEARN))
    play.hs.clock.advance(0.5 * REST_TIMES - 0.01)
    assert [] == play.steps()
    play.hs.clock.advance(0.02)
    play.hs.answer(play.step(DELETE))
    play.hs.clock.advance(0)

    assert 0 == keeper(play).to_learn == keeper(play).to_tidy
    assert [] == play.hs.clock.getDelayedCalls()


def test_after_a_failure_there_is_a_rest_too() -> None:
    play = Play()
    stages = counting(play, series.FAILURES, "stage")
    store(play, NOTICE)
    play.hs.answer(play.step(LEARN), LostError())
    assert {"tidy": 1} == stages()
    play.hs.clock.advance(REST_S - 0.01)
    assert [] == play.steps()
    play.hs.clock.advance(0.02)

    assert [LEARN] == play.steps()
    assert not keeper(play).turn.waiting


def test_a_statement_that_does_not_come_back_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancel = Mock()
    monkeypatch.setattr(Database, "cancel", cancel)
    play = Play()
    store(play, NOTICE)
    play.hs.clock.advance(CANCEL_AFTER_S - 0.01)
    cancel.assert_not_called()
    play.hs.clock.advance(0.02)
    cancel.assert_called_once_with()
    play.hs.answer(play.step(LEARN), LostError())
    play.hs.answer(play.until(LEARN))
    play.hs.clock.advance(2 * CANCEL_AFTER_S)

    cancel.assert_called_once_with()


def test_nothing_is_asked_while_confirmations_are_late() -> None:
    """It is looked at again and again, not all the time."""
    play = Play()
    play.traffic.confirmer.is_overdue = True
    store(play, NOTICE)
    play.hs.clock.advance(LOOK_AGAIN_S)
    assert [] == play.steps()
    play.traffic.confirmer.is_overdue = False
    play.hs.clock.advance(LOOK_AGAIN_S)

    assert [LEARN] == play.steps()


def test_the_sweep_takes_turns() -> None:
    """While it asks, nothing else is asked; it may while there is a rest."""
    play = Play()
    turn = keeper(play).turn
    turn.acquire()
    store(play, NOTICE)
    assert [] == play.steps()
    turn.release()
    assert [LEARN] == play.steps()
    assert turn.locked
    play.hs.answer(play.step(LEARN))

    assert not turn.locked


def test_whatever_fails_is_counted_and_work_begins_anew() -> None:
    """With what is handed on next; it is the same background process to Synapse."""
    play = Play()
    house, stages = keeper(play), counting(play, series.FAILURES, "stage")
    house.gives_way = Mock(side_effect=chain([ZeroDivisionError], repeat(False)))
    as_process = Mock(wraps=house.runtime.as_process)
    house.runtime = attrs.evolve(house.runtime, as_process=as_process)
    store(play, NOTICE)
    assert ({"tidy": 1}, []) == (stages(), play.steps())

    store(play, NEW_KEY)
    assert 1 == len(play.steps())
    assert 2 * ["withheld_housekeeping"] == [
        call.args[0] for call in as_process.call_args_list
    ]


# Redundant rows.


def test_nothing_is_asked_where_nothing_is_to_be_done(asked: Asked) -> None:
    """As when a chore is done that has become ready too late."""
    driven(keeper(Play()).tidying["inbox"].do_some())

    assert [] == asked


def test_a_row_that_waits_until_readers_see_the_newer_one_holds_up_no_other() -> None:
    """Neither one whose newer row they see, nor what is to be learned."""
    play = having("R2")
    play.fill("R2", [NOTICE] * 2)
    play.send(NOTICE)
    play.begin({}, message_type="m.dummy")
    play.hs.steps[0].hangs = True
    play.begin(NEW_KEY)
    play.hs.take_all_steps()
    play.hs.pass_time(1)
    play.begin({**NOTICE, "from_device": "another"}, "R2")
    for _ in range(10):
        play.hs.take_all_steps()
        play.hs.pass_time(LOOK_AGAIN_S)
    assert ([3, 5], [2, 6]) == (play.queued(), play.queued("R2"))

    play.hs.steps[0].hangs = False
    play.hs.come_to_rest()
    assert [4, 5] == play.queued()


def test_a_row_goes_for_the_newest_of_those_that_made_it_redundant(
    asked: Asked,
) -> None:
    """What is in between may be gone by then; other mailboxes have rows of theirs."""
    play = known("A", "B")
    keeper(play).turn.acquire()
    store(play, NEW_KEY, ["A", "B"])
    store(play, NOTICE, "A")
    store(play, NEW_KEY, "A")
    keeper(play).turn.release()

    assert DELETE == asked[-1][0]
    assert [("A", 1, 4), ("B", 1, 2), ("A", 2, 4), ("A", 3, 4)] == [
        (row.mailbox[1], row.stream_id, row.newer_stream_id) for row in asked[-1][1][1]
    ]


def test_a_mailbox_whose_newer_row_is_not_there_is_forgotten() -> None:
    """Where it is there, the older one was acknowledged in the meantime."""
    play = known("A", "B")
    count = counting(play, series.TIDIED, "queue")
    keeper(play).turn.acquire()
    store(play, NEW_KEY, ["A", "B"])
    play.hs.rows("DELETE FROM device_inbox WHERE device_id = 'A' AND stream_id = 2")
    play.hs.acknowledge(RECIPIENT, "B", 1)
    keeper(play).turn.release()
    play.hs.come_to_rest()

    assert ["B"] == play.memory.devices_of(RECIPIENT)
    assert {} == count()


def test_what_fails_is_tried_again_and_given_up_in_the_end() -> None:
    """Its mailbox is forgotten then, and found again."""
    play = known("A")
    store(play, NEW_KEY, "A")
    for _ in range(MOST_TRIES):
        assert 2 == len(keeper(play).tidying["inbox"]._named)
        assert ["A"] == play.memory.devices_of(RECIPIENT)
        play.hs.answer(play.until(DELETE), LostError())

    assert 0 == keeper(play).to_tidy
    assert [] == play.memory.devices_of(RECIPIENT)


def test_mailboxes_of_what_does_not_fit_are_doubted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one; what others made redundant has room of its own."""
    play = known("A", "B")
    play.hs.add_device(RECIPIENT, "C")
    play.send(NOTICE, "C", sender="@t:here")
    keeper(play).turn.acquire()
    monkeypatch.setattr(shares, "MOST_OF_ONE", 1)
    store(play, NEW_KEY, ["A", "B"])
    store(play, NEW_KEY, "C", sender="@t:here")

    assert [True, False, True] == [play.knows(each) for each in "ABC"]
    assert 2 == keeper(play).to_tidy
    assert 4 == len(keeper(play).tidying["inbox"]._named)


def test_a_cancellation_stays_whose_request_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is kept of it; the request goes with a later notice."""
    vanish = RulesConfig(key_requests="vanish")
    play = Play(sees_reads=True, rules=vanish)
    play.send(REQUEST, message_type=KEY)
    with monkeypatch.context() as full:
        full.setattr(shares, "MOST_OF_ONE", 0)
        play.send(CANCELLATION, message_type=KEY)
    assert [1, 2] == play.queued()
    assert not play.memory.vanishing.awaits(R, 1)
    play.send({**REQUEST, "request_id": "2"}, message_type=KEY)

    assert [2, 3] == play.queued()


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancellation_vanishes_once_its_request_is_seen_to_be_gone(
    fails: bool,
) -> None:
    """It stays where the question fails what became of that."""
    vanish = RulesConfig(key_requests="vanish")
    play = Play(sees_reads=True, rules=vanish)
    count = counting(play, series.TIDIED, "queue")
    play.send(REQUEST, message_type=KEY)
    store(play, CANCELLATION, message_type=KEY)
    play.hs.answer(play.until(DELETE))
    answer(play, LostError() if fails else None)
    assert fails is not keeper(play).tidying["inbox"].is_ready
    play.hs.come_to_rest()

    assert ([2] if fails else []) == play.queued()
    assert {"inbox": 1 if fails else 2} == count()
    assert not play.memory.vanishing.awaits(R, 1)

"""Work in the background: one statement at a time, with rests, in nobody's way.

And what redundant rows are deleted, when, and what becomes of their mailboxes.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any
from unittest.mock import Mock

import attrs
import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.database.cancelling import Cancellable
from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping.housekeeper import (
    LOOK_AGAIN_S,
    REST_S,
    REST_TIMES,
)
from synapse_withheld.delivery.shares import MOST_TRIES, Piece, Work
from synapse_withheld.operators import series
from synapse_withheld.wiring import CANCEL_AFTER_S
from tests.model.client import KEY_REQUEST
from tests.model.faults import LostError
from tests.model.messages import request
from tests.model.play import ABROAD, NEW_KEY, NOTICE, RECIPIENT, Play
from tests.unit.delivery.played import (
    DELETE,
    DEVICES,
    LEARN,
    LOOK_OVER,
    Asked,
    counting,
    keeper,
    known,
    store,
)


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


def test_a_statement_that_does_not_come_back_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancel = Mock()
    monkeypatch.setattr(Cancellable, "cancel", cancel)
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
    names = [call.args[0] for call in as_process.call_args_list]
    assert 2 * ["withheld_housekeeping"] == names


def test_work_is_done_on_behalf_of_who_brought_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the server, where one could make up users; also of what is only found."""
    whose: list[tuple[str, str]] = []
    queue = Work.queue

    def note(work: Work[Any], piece: Piece) -> bool:
        whose.append((type(piece).__name__, piece.who))
        return queue(work, piece)

    monkeypatch.setattr(Work, "queue", note)
    play = Play(devices="AB")
    play.fill("A", [NOTICE], sender=ABROAD)
    play.send(NOTICE, "A", sender=ABROAD)
    play.send(NEW_KEY, "A", sender=ABROAD)
    play.send(NOTICE, "*", sender=ABROAD)

    kinds = ["_Unlearned", "_Redundant", "_Redundant", "_Redundant", "_User"]
    assert [(kind, "there") for kind in [*kinds, "_Unlearned"]] == whose


@pytest.mark.parametrize(
    ("statement", "devices", "content"),
    [
        (LEARN, "A", NOTICE),
        (LOOK_OVER, "ABCD", NOTICE),
        (DELETE, "A", NEW_KEY),
        (DEVICES, "*", NOTICE),
    ],
)
def test_what_fails_is_tried_again_and_given_up_in_the_end(
    statement: str, devices: str, content: Any
) -> None:
    """Its mailbox is forgotten then, and can be learned once more."""
    play = known("A") if statement == DELETE else Play(devices="ABCD")
    store(play, content, devices)
    for _ in range(MOST_TRIES):
        assert devices in {"*", "".join(play.memory.devices_of(RECIPIENT))}
        play.hs.answer(play.until(statement), LostError())
    assert 0 == keeper(play).to_tidy
    play.hs.come_to_rest()

    assert [*devices[:-1]] == play.memory.devices_of(RECIPIENT)
    assert 0 == keeper(play).to_learn
    play.send(NOTICE, devices[-1])
    assert play.knows("A" if devices == "*" else devices[-1])


# Redundant rows.


def test_a_row_that_waits_until_readers_see_the_newer_one_holds_up_no_other() -> None:
    """Neither one whose newer row they see, nor what is to be learned."""
    play = Play(devices=["R", "R2"])
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
    play = known("AB")
    keeper(play).turn.acquire()
    store(play, NEW_KEY, "AB")
    store(play, NOTICE, "A")
    store(play, NEW_KEY, "A")
    keeper(play).turn.release()

    expected = [("A", 1, 4), ("B", 1, 2), ("A", 2, 4), ("A", 3, 4)]
    assert [expected] == [
        [(key[1], *rows) for key, *rows in each] for each in asked(DELETE)
    ]


def test_a_mailbox_whose_newer_row_is_not_there_is_forgotten() -> None:
    """Where it is there, the older one was acknowledged in the meantime."""
    play = known("AB")
    count = counting(play, series.TIDIED, "queue")
    keeper(play).turn.acquire()
    store(play, NEW_KEY, "AB")
    play.hs.rows("DELETE FROM device_inbox WHERE device_id = 'A' AND stream_id = 2")
    play.hs.acknowledge(RECIPIENT, "B", 1)
    keeper(play).turn.release()
    play.hs.come_to_rest()

    assert ["B"] == play.memory.devices_of(RECIPIENT)
    assert {} == count()


@pytest.mark.parametrize("most", [0, 1])
def test_a_cancellation_vanishes_where_its_request_fits(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Otherwise nothing is kept of it; the request goes with a later notice."""
    play = Play(sees_reads=True, rules=RulesConfig(key_requests="vanish"))
    count = counting(play, series.TIDIED, "queue")
    play.send_each(request(KEY_REQUEST, "request", "1", "session"))
    with monkeypatch.context() as full:
        full.setattr(shares, "MOST_OF_ONE", most)
        play.send_each(request(KEY_REQUEST, "request_cancellation", "1", ""))
    assert ([] if most else [1, 2]) == play.queued()
    assert not play.memory.vanishing.awaits((RECIPIENT, "R"), 1)
    play.send_each(request(KEY_REQUEST, "request", "2", "session"))

    assert ([3] if most else [2, 3]) == play.queued()
    assert {"inbox": 1 + most} == count()

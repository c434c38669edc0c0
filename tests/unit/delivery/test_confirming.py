"""Confirming: who is asked about when, and who is let go, in which order."""

from __future__ import annotations

from typing import Any, Callable
from unittest.mock import Mock

import attrs
import pytest

from synapse_withheld.database.cancelling import Cancellable
from synapse_withheld.database.database import Database
from synapse_withheld.delivery.batch import Batch, Candidate
from synapse_withheld.delivery.confirming import confirmer as confirming
from synapse_withheld.delivery.confirming.confirmer import (
    MOST_REST_S,
    MOST_WAIT_S,
    PATIENCE_S,
    REST_S,
    Confirmer,
)
from synapse_withheld.delivery.confirming.waiting import Waiting
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.memory.memory import Memory, Record
from synapse_withheld.operators import series
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import RowState
from synapse_withheld.wiring import CANCEL_AFTER_S
from tests.model.faults import LostError
from tests.model.play import NEW_KEY, NOTICE, RECIPIENT, SENDER, WITHHELD, Play
from tests.unit.delivery.played import answer, counting, known, said, store

SAID = said()
MESSAGE = {"content": NOTICE, "type": WITHHELD, "sender": SENDER}


@attrs.define
class Seen:
    """Who waited, what the statements asked about, and where anything failed."""

    waiting: list[Waiting] = attrs.Factory(list)
    queues: list[str] = attrs.Factory(list)
    asked: list[list[tuple[str, int]]] = attrs.Factory(list)
    failed: list[str] = attrs.Factory(list)

    def decided(self, which: int) -> list[Decision]:
        return [each.decision for each in self.waiting[which].doubtful]

    def devices(self) -> list[str]:
        """Return the devices that each statement asked about."""
        return ["".join(device for device, _ in each) for each in self.asked]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen()
    add, read_queued = Confirmer.add, Database.read_queued

    def note_waiting(confirmer: Confirmer, waiting: Waiting) -> None:
        seen.waiting.append(waiting)
        add(confirmer, waiting)

    async def note_asked(database: Database, queue: Any, rows: Any) -> Any:
        seen.queues.append(queue.name)
        seen.asked.append([(key[1], stream_id) for key, stream_id in rows])
        return await read_queued(database, queue, rows)

    monkeypatch.setattr(Confirmer, "add", note_waiting)
    monkeypatch.setattr(Database, "read_queued", note_asked)
    monkeypatch.setattr(Failures, "note", lambda _, at, __: seen.failed.append(at))
    return seen


def test_how_long_each_batch_waited_is_counted() -> None:
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


def test_a_statement_is_about_so_many_rows(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And however many wait for one row, so many are looked at to find them."""
    monkeypatch.setattr(confirming, "MOST_ROWS", 2)
    monkeypatch.setattr(confirming, "MOST_LOOKED_AT", 3)
    play = known("A", "B", "C")
    duplicates = [play.begin(NOTICE, [*each]) for each in ["ABC", *"AAAAB"]]
    for _ in range(4):
        answer(play)

    assert ["AB", "CA", "A", "B"] == seen.devices()
    assert all(each.left_out for each in duplicates)


def test_queues_take_turns(seen: Seen) -> None:
    play = known("A", "B", "C")
    play.send_abroad(NOTICE)
    play.begin(NOTICE, "A")
    play.begin(NOTICE, "B")
    play.begin_abroad(NOTICE)
    play.hs.take_step()
    play.begin_abroad(NOTICE)
    play.begin(NOTICE, "C")
    play.hs.take_all_steps()

    assert ["inbox", "outbox", "inbox", "outbox"] == seen.queues


def test_who_was_let_go_makes_nobody_wait_for_another_statement(seen: Seen) -> None:
    play = Play()
    for device in "ABCD":
        play.hs.add_device(RECIPIENT, device)
        play.send(NOTICE, device, sender=f"@{device}:here")
    for device in "ABCD":
        play.begin(NOTICE, device, sender=f"@{device}:here")
    play.begin({}, "C", message_type="m.dummy", sender="@C:here")
    answer(play)

    assert ["A", "BD"] == seen.devices()


def test_a_failure_of_ours_lets_everybody_go(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted; the next to wait are asked about again."""
    play = known("A")
    notice = play.begin(NOTICE, "A")
    with monkeypatch.context() as patched:
        patched.setattr(Memory, "confirmed", lambda *_: 1 // 0)
        answer(play)
    assert notice.handed is not None
    assert ([decisions.FAILED], ["statement"]) == (seen.decided(0), seen.failed)

    play.begin(NOTICE, "A")
    assert ["A", "A"] == seen.devices()


def test_after_a_failed_statement_there_is_a_rest(seen: Seen) -> None:
    """Who was asked about failed, others pass; doubled up to a bound."""
    play = known("A", "B")
    notices = [play.begin(NOTICE, device) for device in "AB"]
    answer(play, LostError())
    assert [[decisions.FAILED], [decisions.RESTING]] == [*map(seen.decided, range(2))]
    assert all(each.handed for each in notices)

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
    assert 8 * ["statement"] == seen.failed


def test_while_a_statement_is_overdue_everybody_passes(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits is let go; it is cancelled in the end, and asked again after it."""
    cancel = Mock()
    monkeypatch.setattr(Cancellable, "cancel", cancel)
    play = known("A", "B")
    notices = [play.begin(NOTICE, device) for device in "AB"]
    play.hs.clock.advance(PATIENCE_S - 0.01)
    assert [None, None] == [each.handed for each in notices]
    play.hs.clock.advance(0.02)
    assert [decisions.OVERDUE] == seen.decided(0) == seen.decided(1)
    assert all(each.handed for each in notices)
    assert decisions.OVERDUE is play.traffic.confirmer.passes
    play.hs.clock.advance(CANCEL_AFTER_S - PATIENCE_S - 0.02)
    cancel.assert_not_called()
    play.hs.clock.advance(0.02)
    cancel.assert_called_once()
    answer(play)

    assert play.traffic.confirmer.passes is None
    assert [decisions.OVERDUE] == seen.decided(0)
    assert [] == play.hs.clock.getDelayedCalls()


def test_nobody_waits_longer_than_a_second(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered by then stays so; those who came later wait on."""
    monkeypatch.setattr(confirming, "MOST_ROWS", 1)
    play = known(*"ABCDE")
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
    assert 2 * [decisions.DUPLICATE] + 3 * [decisions.OVERDUE] == seen.decided(0)
    answer(play)
    play.hs.clock.advance(0.38)
    assert later.handed is None
    play.hs.clock.advance(0.02)

    assert later.handed is not None
    assert 3 * [decisions.OVERDUE] == seen.decided(1)


def test_one_that_came_long_ago_does_not_wait(seen: Seen) -> None:
    """Nor does the next, after the clock was looked at."""
    play = known("A")

    def take_long() -> int:
        play.hs.clock.advance(MOST_WAIT_S)
        return 0

    play.traffic.inbox.device_list_id = take_long
    for number in range(2):
        play.begin(NOTICE, "A")
        play.hs.clock.advance(0)
        assert [decisions.OVERDUE] == seen.decided(number)
        answer(play)


def replace(play: Play, devices: str) -> None:
    """Let an equal row take the place of the one that is remembered."""
    for device in devices:
        place, now = (RECIPIENT, device), play.hs.device_list_id()
        storing = play.memory.begin(place, SAID, SENDER, now, 0.0)
        play.memory.settle(storing, play.hs.put(place, MESSAGE))


@pytest.mark.parametrize("devices", ["A", "AB"])
def test_a_row_that_was_replaced_is_asked_about_again(seen: Seen, devices: str) -> None:
    """What is believed by then counts; one that is still there confirms it, too."""
    play = known(*devices)
    duplicate = play.begin(NOTICE, [*devices])
    replace(play, devices)
    for device in devices:
        play.hs.acknowledge(RECIPIENT, device, 1)
    answer(play)
    assert duplicate.handed is None
    replace(play, devices)
    answer(play)

    expected = [[(each, 1) for each in devices], [*zip(devices, (2, 3))]]
    assert expected == seen.asked
    assert {decisions.DUPLICATE} == {*seen.decided(0)}
    assert {(RECIPIENT, device) for device in devices} == duplicate.left_out


def test_one_that_is_seen_to_be_queued_is_held_from_then() -> None:
    """From when it was asked about: it may have gone since."""
    play = known("A", repeat="session")
    play.hs.clock.advance(10)
    asked_s = play.hs.clock.seconds()
    play.begin(NOTICE, "A")
    play.hs.clock.advance(0.25)
    answer(play)

    mailbox = play.memory.peek((RECIPIENT, "A"))
    assert mailbox is not None
    assert [asked_s] == [record.queued_s for record in mailbox]


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
    believed = Record(1, SAID, (RECIPIENT, "A"), SENDER, device_list_id=3)

    assert expected is confirming._decide(believed, state, is_held=is_held)


def test_of_what_is_stored_the_first_belief_is_asked_about(seen: Seen) -> None:
    """In `observe`: its own row has taken the place; it overtakes nobody."""
    play = known("A", mode="observe")
    store(play, NOTICE, "A")
    store(play, NEW_KEY, "A")
    answer(play)

    assert [[("A", 1)]] == seen.asked
    assert [decisions.DUPLICATE] == seen.decided(0)


def test_what_is_stored_while_others_are_let_go_overtakes_none_of_them() -> None:
    """One that ends at once may bring the next of the same sender with it."""
    play, stored = known("A", "B"), list[str]()
    confirmer = play.traffic.confirmer

    def wait(device: str, finish: Callable[[], None]) -> None:
        belief = play.memory.believe((RECIPIENT, device), SAID, 0.0)
        doubtful = [Candidate("inbox", (RECIPIENT, device), SAID, {}, *belief)]
        now_s = play.hs.clock.seconds()
        batch = Batch({RECIPIENT: {device: {}}}, {}, SENDER, SENDER, now_s)
        confirmer.add(Waiting(batch, doubtful, finish, is_stored=False))

    def release() -> None:
        confirmer.release(confirmer.room.of(SENDER, [RECIPIENT]))

    def store_and_bring_the_next() -> None:
        stored.append("first")
        release()
        stored.append("next")

    wait("A", store_and_bring_the_next)
    wait("B", lambda: stored.append("second"))
    release()

    assert ["first", "second", "next"] == stored
    assert not confirmer.room


def test_a_wait_that_cannot_be_counted_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play()
    play.send(NOTICE)
    count = counting(play, series.FAILURES, "stage")
    monkeypatch.setattr(play.traffic.metrics, "confirmed_in", lambda _: 1 // 0)
    play.send(NOTICE)
    assert {"record": 1} == count()
    assert [ZeroDivisionError] == [type(each) for each in play.failures]

"""Confirming: who is asked about when, and who is let go, in which order."""

from __future__ import annotations

from typing import Any, Callable, Mapping, cast

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from synapse_withheld.database.database import Database
from synapse_withheld.delivery.batch import Batch, Candidate
from synapse_withheld.delivery.confirming import confirmer as confirming
from synapse_withheld.delivery.confirming.confirmer import (
    CANCEL_AFTER,
    MOST_REST_S,
    MOST_WAIT_S,
    PATIENCE_S,
    REST_S,
    Confirmer,
)
from synapse_withheld.delivery.confirming.waiting import Waiting
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.runtime import at_once
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey, RowState
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair

SENDER, USER = "@s:hs", "@r:hs"
HOLD_S = 3600.0
QUEUED, GONE = RowState(), RowState(queued=False)


def notice(sender: str = SENDER, key: str = "key") -> Notice:
    pair = Pair(sender, "device:S", "m.room_key.withheld")
    return Notice(NoOlm(), pair, key, "whole")


@attrs.define
class Asked:
    """One statement, which is answered when the test says so."""

    queue: str
    devices: list[str]
    rows: list[tuple[MailboxKey, int]]
    answer: Deferred[Any]


@attrs.define(slots=False)
class Around:
    """A confirmer, and what is around it."""

    clock: Clock
    memories: dict[str, Memory]
    metrics: Metrics
    asked: list[Asked] = attrs.Factory(list)
    cancelled: list[float] = attrs.Factory(list)
    stored: list[str] = attrs.Factory(list)
    processes: list[str] = attrs.Factory(list)
    stream_id: int = 0

    def __attrs_post_init__(self) -> None:
        async def sleep(seconds: float) -> None:
            raise AssertionError(seconds)

        runtime = at_once(self.clock, sleep)

        def as_process(name: str, *work: Any) -> Deferred[Any]:
            self.processes.append(name)
            return runtime.as_process(name, *work)

        self.confirmer = Confirmer(
            self.memories,
            cast(Any, {name: name for name in self.memories}),
            cast(Database, self),
            attrs.evolve(runtime, as_process=as_process),
            self.metrics,
            Failures(self.metrics, self.clock.seconds),
        )

    # As a database.

    async def read_queued(self, queue: str, rows: Mapping[Any, Any]) -> Any:
        devices = [device for (_, device), _ in rows]
        self.asked.append(Asked(queue, devices, list(rows), Deferred()))
        return await self.asked[-1].answer

    def cancel(self) -> None:
        self.cancelled.append(self.clock.seconds())

    # What the test does.

    def know(
        self,
        *devices: str,
        queue: str = "inbox",
        sender: str = SENDER,
        key: str = "key",
    ) -> None:
        memory = self.memories[queue]
        for device in devices:
            self.stream_id += 1
            memory.open((USER, device), 0)
            storing = memory.begin((USER, device), notice(sender, key), sender, 0, 0.0)
            memory.settle(storing, self.stream_id)

    def send(
        self,
        *devices: str,
        queue: str = "inbox",
        sender: str = SENDER,
        is_stored: bool = False,
        finish: Callable[[], None] | None = None,
        came_s: float | None = None,
    ) -> Waiting:
        """Let a batch with a believed duplicate for each device wait."""
        candidates = []
        for device in devices:
            said, place = notice(sender), (USER, device)
            belief = self.memories[queue].believe(place, said, self.clock.seconds())
            candidates.append(Candidate(queue, place, said, {}, *belief))
        messages: dict[str, Any] = {USER: {device: {} for device in devices}}
        now_s = self.clock.seconds() if came_s is None else came_s
        batch = Batch(messages, {}, sender, sender, now_s)
        name = "".join(devices)
        over = finish or (lambda: self.stored.append(name))
        waiting = Waiting(batch, candidates, over, is_stored=is_stored)
        self.confirmer.add(waiting)
        return waiting

    def answer(self, **states: RowState | None) -> None:
        last = self.asked[-1]
        told = {row: states.get(row[0][1], QUEUED) for row in last.rows}
        last.answer.callback({row: each for row, each in told.items() if each})

    def fail(self) -> None:
        self.asked[-1].answer.errback(RuntimeError())

    def release(self) -> None:
        """Let go what the sender of something for the user would overtake."""
        room = self.confirmer.room
        self.confirmer.release(room.of(SENDER, [USER]))

    def failures(self) -> dict[str, float]:
        counted = self.metrics.read(series.FAILURES)
        return {labels["stage"]: value for labels, value in counted if value}


@pytest.fixture
def around(metrics: Metrics) -> Around:
    memories = {
        queue: Memory(Limits(10_000), sees_reads=False, hold_s=HOLD_S)
        for queue in ("inbox", "outbox")
    }
    return Around(Clock(), memories, metrics)


def decided(waiting: Waiting) -> list[Decision]:
    return [each.decision for each in waiting.doubtful]


def test_how_long_each_batch_waited_is_counted(around: Around) -> None:
    waited: list[float] = []
    around.metrics.confirmed_in = waited.append
    around.clock.advance(3)
    around.know("A")
    around.send("A")
    around.clock.advance(0.25)
    around.answer()

    assert [0.25] == waited
    assert ["withheld_confirm"] == around.processes


def test_a_statement_is_about_so_many_rows(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And however many wait for one row, so many are looked at to find them."""
    monkeypatch.setattr(confirming, "MOST_ROWS", 2)
    monkeypatch.setattr(confirming, "MOST_LOOKED_AT", 3)
    around.know("A", "B", "C")
    around.send("A", "B", "C")
    for device in "AAAAB":
        around.send(device)
    for _ in range(4):
        around.answer()

    assert [["A", "B"], ["C", "A"], ["A"], ["B"]] == [
        each.devices for each in around.asked
    ]
    assert ["A", "A", "A", "A", "ABC", "B"] == sorted(around.stored)


def test_queues_take_turns(around: Around) -> None:
    around.know("A", "B", "C")
    around.know("X", "Y", queue="outbox")
    around.send("A")
    around.send("B")
    around.send("X", queue="outbox")
    around.answer()
    around.send("Y", queue="outbox")
    around.send("C")
    around.answer()
    around.answer()

    assert ["inbox", "outbox", "inbox", "outbox"] == [
        each.queue for each in around.asked
    ]


def test_who_was_let_go_makes_nobody_wait_for_another_statement(
    around: Around,
) -> None:
    for device in "ABCD":
        around.know(device, sender=device)
        around.send(device, sender=device)
    around.confirmer.release(around.confirmer.room.of("C", [USER]))
    around.answer()

    assert [["A"], ["B", "D"]] == [each.devices for each in around.asked]


def test_a_failure_of_ours_lets_everybody_go(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted; the next to wait are asked about again."""
    around.know("A")

    def fail(*_: Any) -> Any:
        raise RuntimeError

    waiting = around.send("A")
    with monkeypatch.context() as patched:
        patched.setattr(Memory, "confirmed", fail)
        around.answer()
    assert [decisions.FAILED] == decided(waiting)
    assert ["A"] == around.stored
    assert {"statement": 1} == around.failures()
    around.send("A")

    assert 2 == len(around.asked)


def test_after_a_failed_statement_there_is_a_rest(around: Around) -> None:
    """Who was asked about failed, others pass; doubled up to a bound."""
    around.know("A", "B")
    asked, other = around.send("A"), around.send("B")
    around.fail()
    assert [decisions.FAILED] == decided(asked)
    assert [decisions.RESTING] == decided(other)
    assert ["A", "B"] == around.stored
    assert {"statement": 1} == around.failures()
    rest_s = REST_S
    for _ in range(6):
        assert decisions.RESTING is around.confirmer.passes
        around.clock.advance(rest_s - 0.01)
        assert decisions.RESTING is around.confirmer.passes
        around.clock.advance(0.01)
        assert around.confirmer.passes is None
        around.send("A")
        around.fail()
        rest_s = min(2 * rest_s, MOST_REST_S)
    around.clock.advance(rest_s)
    around.send("A")
    around.answer()
    around.send("A")
    around.fail()
    around.clock.advance(REST_S - 0.01)
    assert decisions.RESTING is around.confirmer.passes
    around.clock.advance(0.01)

    assert around.confirmer.passes is None


def test_while_a_statement_is_overdue_everybody_passes(around: Around) -> None:
    """Who waits is let go; it is cancelled in the end, and asked again after it."""
    around.know("A", "B")
    asked, other = around.send("A"), around.send("B")
    around.clock.advance(PATIENCE_S - 0.01)
    assert [] == around.stored
    around.clock.advance(0.01)
    assert [decisions.OVERDUE] == decided(asked) == decided(other)
    assert ["A", "B"] == around.stored
    assert decisions.OVERDUE is around.confirmer.passes
    around.clock.advance(PATIENCE_S * (CANCEL_AFTER - 1) - 0.01)
    assert [] == around.cancelled
    around.clock.advance(0.01)
    assert [PATIENCE_S * CANCEL_AFTER] == around.cancelled
    around.answer()

    assert around.confirmer.passes is None
    assert [decisions.OVERDUE] == decided(asked)
    assert [] == around.clock.getDelayedCalls()


def test_nobody_waits_longer_than_a_second(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered by then stays so; those who came later wait on."""
    monkeypatch.setattr(confirming, "MOST_ROWS", 1)
    around.know("A", "B", "C", "D", "E")
    first = around.send("A", "B", "C", "D", "E")
    around.clock.advance(0.4)
    around.answer()
    later = around.send("A", "B", "C")
    around.clock.advance(0.4)
    around.answer()
    around.clock.advance(MOST_WAIT_S - 0.81)
    assert [] == around.stored
    around.clock.advance(0.01)
    assert ["ABCDE"] == around.stored
    answered = [each.is_answered for each in first.doubtful]
    assert [True, True, False, False, False] == answered
    assert 2 * [decisions.DUPLICATE] + 3 * [decisions.OVERDUE] == decided(first)
    around.answer()
    around.clock.advance(0.39)
    assert ["ABCDE"] == around.stored
    around.clock.advance(0.01)

    assert ["ABCDE", "ABC"] == around.stored
    assert 3 * [decisions.OVERDUE] == decided(later)


def test_one_that_came_long_ago_does_not_wait(around: Around) -> None:
    """Nor does the next, after the clock was looked at."""
    around.know("A")
    around.clock.advance(MOST_WAIT_S)
    for _ in range(2):
        late = around.send("A", came_s=0.0)
        around.clock.advance(0)
        assert [decisions.OVERDUE] == decided(late)


@pytest.mark.parametrize("devices", ["A", "AA"])
def test_a_row_that_was_replaced_is_asked_about_again(
    around: Around, devices: str
) -> None:
    """What is believed by then counts; one that is still there confirms it, too."""
    around.know("A")
    waiting = around.send(*devices)
    around.know("A")
    around.answer(A=GONE)
    assert [((USER, "A"), 1)] == around.asked[0].rows
    assert [((USER, "A"), 2)] == around.asked[1].rows
    assert [] == around.stored
    around.know("A")
    around.answer()

    assert 2 == len(around.asked)
    assert {decisions.DUPLICATE} == set(decided(waiting))
    assert [devices] == around.stored


def test_one_that_is_seen_to_be_queued_is_held_from_then(around: Around) -> None:
    """From when it was asked about: it may have gone since."""
    around.know("A")
    around.clock.advance(HOLD_S)
    around.send("A")
    around.clock.advance(0.25)
    around.answer()
    mailbox = around.memories["inbox"].peek((USER, "A"))

    assert mailbox is not None
    assert [HOLD_S] == [record.queued_s for record in mailbox]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, decisions.UNKNOWN_DEVICE),
        (QUEUED, decisions.DUPLICATE),
        (GONE, decisions.HELD),
        (RowState(device_list_id=1), decisions.DEVICE_CHANGED),
        (RowState(queued=False, device_list_id=1), decisions.NOT_QUEUED),
        (RowState(never_acknowledged=True), decisions.NEVER_ACKNOWLEDGED),
    ],
)
def test_what_became_of_a_row_decides(
    around: Around, state: RowState | None, expected: Decision
) -> None:
    around.know("A")
    waiting = around.send("A")
    around.answer(A=state)

    assert [expected] == decided(waiting)
    assert waiting.doubtful[0].is_answered


def test_of_what_is_stored_the_first_belief_is_asked_about(around: Around) -> None:
    """Its own row has taken the place; it overtakes nobody."""
    around.know("A")
    waiting = around.send("A", is_stored=True)
    around.know("A", key="other")
    assert [] == around.confirmer.room.of(SENDER, [USER])
    around.answer()

    assert [decisions.DUPLICATE] == decided(waiting)


def test_what_is_stored_while_others_are_let_go_overtakes_none_of_them(
    around: Around,
) -> None:
    """One that ends at once may bring the next of the same sender with it."""
    around.know("A", "B")

    def store_and_bring_the_next() -> None:
        around.stored.append("first")
        around.release()
        around.stored.append("next")

    first = around.send("A", finish=store_and_bring_the_next)
    around.send("B")
    around.release()

    assert ["first", "B", "next"] == around.stored
    assert [decisions.RELEASED] == decided(first)
    assert not around.confirmer.room


def test_one_that_fails_when_it_is_let_go_holds_up_no_other(around: Around) -> None:
    """The others are let go as soon as anybody is."""
    around.know("A", "B")

    def fail() -> None:
        raise MemoryError

    around.send("A", finish=fail)
    around.send("B")
    with pytest.raises(MemoryError):
        around.release()
    around.confirmer._let_go()

    assert ["B"] == around.stored


def test_one_that_lets_go_what_came_before_it_is_not_overtaken(
    around: Around,
) -> None:
    """It is stored after that, and before what came later."""
    around.know("A", "B", "C")

    def store_after_all_before() -> None:
        around.confirmer.release_before(second)
        around.stored.append("second")

    around.send("A")
    second = around.send("B", finish=store_after_all_before)
    third = around.send("C")
    around.confirmer._end(second)
    around.confirmer._let_go()
    assert ["A", "second"] == around.stored
    assert not third.is_over
    around.release()

    assert ["A", "second", "C"] == around.stored


def test_what_is_not_believed_any_more_is_stored(around: Around) -> None:
    """An Olm message may have passed, before or after it was asked about."""
    around.know("A", "B")
    asked = around.send("A")
    later = around.send("B")
    for device in "AB":
        around.memories["inbox"].rearm_device((USER, device), SENDER, "key")
    around.answer()

    assert [decisions.REARMED] == decided(asked) == decided(later)
    assert ["A", "B"] == around.stored
    assert 1 == len(around.asked)

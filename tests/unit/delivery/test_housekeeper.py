"""Chores in the background: one statement at a time, with rests, in nobody's way."""

from __future__ import annotations

from typing import Any, Callable, cast

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.housekeeping.housekeeper import (
    CANCEL_AFTER_S,
    LOOK_AGAIN_S,
    REST_S,
    REST_TIMES,
    Housekeeper,
)
from synapse_withheld.delivery.runtime import at_once
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.mailbox import Superseded

ROW = Superseded(("@r:here", "A"), 5, 6)


@attrs.define
class Chore:
    """Work that is done when the test says so."""

    left: int = 0
    waits: bool = False
    added: list[tuple[Any, ...]] = attrs.Factory(list)
    begun: list[Deferred[None]] = attrs.Factory(list)

    def __len__(self) -> int:
        return self.left

    @property
    def is_ready(self) -> bool:
        return self.left > 0 and not self.waits

    def add(self, *what: Any) -> None:
        self.added.append(what)
        self.left += 1

    async def do_some(self) -> None:
        self.begun.append(Deferred())
        await self.begun[-1]
        self.left -= 1

    def end(self) -> None:
        self.begun[-1].callback(None)

    def fail(self) -> None:
        self.begun[-1].errback(RuntimeError())


@attrs.define
class Around:
    """A housekeeper, and what is around it."""

    clock: Clock
    learning: Chore
    users: Chore
    tidying: Chore
    cancelled: list[None]
    is_late: list[bool]
    house: Housekeeper
    metrics: Metrics

    def failures(self) -> dict[str, float]:
        counted = self.metrics.read(series.FAILURES)
        return {labels["stage"]: value for labels, value in counted if value}


@pytest.fixture
def make(metrics: Metrics) -> Callable[..., Around]:
    """Return what makes a housekeeper, with metrics of this test alone."""

    def made(*, enforces: bool = True) -> Around:
        clock = Clock()

        async def sleep(seconds: float) -> None:
            waking: Deferred[None] = Deferred()
            clock.callLater(seconds, waking.callback, None)
            await waking

        learning, users, tidying = Chore(), Chore(), Chore()
        cancelled: list[None] = []
        is_late = [False]
        house = Housekeeper(
            cast(Any, {"inbox": learning}),
            cast(Any, users),
            cast(Any, {"inbox": tidying}),
            at_once(clock, sleep),
            Failures(metrics, clock.seconds),
            lambda: is_late[0],
            lambda: cancelled.append(None),
            enforces,
        )
        return Around(
            clock, learning, users, tidying, cancelled, is_late, house, metrics
        )

    return made


def test_what_is_handed_on_is_queued_and_begun(make: Callable[..., Around]) -> None:
    """As it came; nothing begins while something else is out."""
    around = make()
    mailbox, row = cast(Any, object()), cast(Any, object())
    around.house.learn("inbox", mailbox, "a", row)
    around.house.learn_user("@r:here", "b", row)
    around.house.tidy("inbox", [ROW], "c")

    assert [(mailbox, "a", row)] == around.learning.added
    assert [("@r:here", "b", row)] == around.users.added
    assert [([ROW], "c")] == around.tidying.added
    assert (2, 1) == (around.house.to_learn, around.house.to_tidy)
    assert (1, 0, 0) == tuple(
        len(each.begun) for each in (around.learning, around.users, around.tidying)
    )


def test_after_each_statement_there_is_a_rest(make: Callable[..., Around]) -> None:
    around = make()
    for _ in range(2):
        around.house.tidy("inbox", [ROW], "c")
    around.clock.advance(0.5)
    around.tidying.end()
    around.clock.advance(0.5 * REST_TIMES - 0.01)
    assert 1 == len(around.tidying.begun)
    around.clock.advance(0.01)
    assert 2 == len(around.tidying.begun)
    around.tidying.end()
    around.clock.advance(0)

    assert 0 == around.house.to_tidy
    assert [] == around.clock.getDelayedCalls()
    around.house.tidy("inbox", [ROW], "c")
    assert 3 == len(around.tidying.begun)


def test_after_a_failure_there_is_a_rest_too(make: Callable[..., Around]) -> None:
    around = make()
    around.house.tidy("inbox", [ROW], "c")
    around.tidying.fail()
    assert {"tidy": 1} == around.failures()
    around.clock.advance(REST_S - 0.01)
    assert 1 == len(around.tidying.begun)
    around.clock.advance(0.01)

    assert 2 == len(around.tidying.begun)
    assert not around.house.turn.waiting


def test_a_statement_that_does_not_come_back_is_cancelled(
    make: Callable[..., Around],
) -> None:
    around = make()
    around.house.tidy("inbox", [ROW], "c")
    around.clock.advance(CANCEL_AFTER_S - 0.01)
    assert [] == around.cancelled
    around.clock.advance(0.01)
    assert [None] == around.cancelled
    around.tidying.fail()
    around.clock.advance(REST_S)
    around.tidying.end()
    around.clock.advance(2 * CANCEL_AFTER_S)

    assert [None] == around.cancelled


def test_nothing_is_asked_while_confirmations_are_late(
    make: Callable[..., Around],
) -> None:
    """It is looked at again and again, not all the time."""
    around = make()
    around.is_late[0] = True
    around.house.tidy("inbox", [ROW], "c")
    around.clock.advance(LOOK_AGAIN_S)
    assert [] == around.tidying.begun
    around.is_late[0] = False
    around.clock.advance(LOOK_AGAIN_S)

    assert 1 == len(around.tidying.begun)


def test_what_is_not_ready_waits_and_holds_up_nothing(
    make: Callable[..., Around],
) -> None:
    """As rows whose newer ones not all readers see."""
    around = make()
    around.tidying.waits = True
    around.house.tidy("inbox", [ROW], "c")
    assert [] == around.tidying.begun
    around.house.learn_user("@r:here", "b", None)
    around.clock.advance(LOOK_AGAIN_S)
    assert (0, 1) == (len(around.tidying.begun), len(around.users.begun))
    around.users.end()
    around.tidying.waits = False
    around.clock.advance(LOOK_AGAIN_S)

    assert 1 == len(around.tidying.begun)


def test_the_sweep_takes_turns(make: Callable[..., Around]) -> None:
    """While it asks, nothing else is asked; it may while there is a rest."""
    around = make()
    around.house.turn.acquire()
    around.house.tidy("inbox", [ROW], "c")
    assert [] == around.tidying.begun
    around.house.turn.release()
    assert 1 == len(around.tidying.begun)
    assert around.house.turn.locked
    around.tidying.end()

    assert not around.house.turn.locked


def test_whatever_fails_is_counted_and_work_begins_anew(
    make: Callable[..., Around],
) -> None:
    """With what is handed on next; it is the same background process to Synapse."""
    around = make()
    names: list[str] = []
    processes: list[Deferred[Any]] = []
    as_process = around.house.runtime.as_process

    def noted(name: str, *work: Any) -> Deferred[Any]:
        names.append(name)
        processes.append(as_process(name, *work))
        return processes[-1]

    def fail() -> bool:
        raise RuntimeError

    gives_way = around.house.gives_way
    around.house.runtime = attrs.evolve(around.house.runtime, as_process=noted)
    around.house.gives_way = fail
    around.house.tidy("inbox", [ROW], "c")
    assert {"tidy": 1} == around.failures()
    assert [] == around.tidying.begun
    # A process in the background must not raise.
    assert [None] == [each.result for each in processes]

    around.house.gives_way = gives_way
    around.house.tidy("inbox", [ROW], "c")
    assert 1 == len(around.tidying.begun)
    assert 2 * ["withheld_housekeeping"] == names

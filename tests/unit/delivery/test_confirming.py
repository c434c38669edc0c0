"""Letting go of those who wait, in the order in which they came."""

from __future__ import annotations

from typing import Any, Callable, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from synapse_withheld.database.database import Database
from synapse_withheld.delivery.batch import Batch, Candidate
from synapse_withheld.delivery.confirming.confirmer import Confirmer
from synapse_withheld.delivery.confirming.waiting import Waiting
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.runtime import Runtime, at_once
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair

SENDER, USER = "@s:hs", "@r:hs"
NOTICE = Notice(NoOlm(), Pair(SENDER, "device:S", "m.room_key.withheld"), "key", "")


def confirmer() -> Confirmer:
    """Return one whose work never begins."""
    clock = Clock()

    async def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    metrics = Metrics("confirming")
    runtime: Runtime = at_once(clock, sleep)
    idle = Runtime(
        runtime.call_later,
        lambda *_: Deferred(),
        runtime.yieldable,
        runtime.outside_any_log_context,
        runtime.sleep,
        runtime.seconds,
        runtime.now_ts,
    )
    memory = Memory(Limits(1000), sees_reads=True, hold_s=None)
    database = cast(Database, None)
    failures = Failures(metrics, clock.seconds)
    return Confirmer({"inbox": memory}, {}, database, idle, metrics, failures)


def waiting(finish: Callable[[], None]) -> Waiting:
    """Return a batch for the user with one believed duplicate."""
    candidate = Candidate("inbox", (USER, "R"), NOTICE, {}, decisions.DUPLICATE)
    messages: dict[str, Any] = {USER: {"R": {}}}
    batch = Batch(messages, {}, SENDER, SENDER, 0.0)
    return Waiting(batch, [candidate], finish, is_stored=False)


def test_what_is_stored_while_others_are_let_go_overtakes_none_of_them() -> None:
    """One that ends at once may bring the next of the same sender with it."""
    some = confirmer()
    stored: list[str] = []

    def store_and_bring_the_next() -> None:
        stored.append("first")
        some.release(some.room.of(SENDER, [USER]))
        stored.append("next")

    some.add(waiting(store_and_bring_the_next))
    some.add(waiting(lambda: stored.append("second")))

    some.release(some.room.of(SENDER, [USER]))

    assert stored == ["first", "second", "next"]
    assert not some.room


def test_what_is_answered_when_it_is_let_go_stays_so() -> None:
    """Whatever comes just then."""
    some = confirmer()
    answered = waiting(lambda: None)
    some.add(waiting(lambda: some.release(some.room.of(SENDER, [USER]))))
    some.add(answered)
    for each in list(some.room):
        some._answer(each, each.doubtful[0])

    some._let_go()

    assert answered.doubtful[0].decision is decisions.DUPLICATE


def test_one_that_lets_go_what_came_before_it_is_not_overtaken() -> None:
    """It is stored after that, and before what came later."""
    some = confirmer()
    stored: list[str] = []

    def store_after_all_before() -> None:
        some.release_before(first)
        stored.append("first")

    first = waiting(store_after_all_before)
    some.add(first)
    some.add(waiting(lambda: stored.append("second")))
    some.release(some.room.of(SENDER, [USER]))

    assert stored == ["first", "second"]


def test_one_that_fails_when_it_is_let_go_holds_up_no_other() -> None:
    """The others are let go as soon as anybody is."""
    some = confirmer()
    stored: list[str] = []

    def fail() -> None:
        raise MemoryError

    some.add(waiting(fail))
    some.add(waiting(lambda: stored.append("second")))
    try:
        some.release(some.room.of(SENDER, [USER]))
    except MemoryError:
        some._let_go()

    assert stored == ["second"]

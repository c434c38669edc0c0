"""Waiting with patience."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from synapse_withheld.delivery.waiting import (
    PatienceEndedError,
    SenderLocks,
    Shared,
    wait_up_to,
)
from tests.model.homeserver import ModelHomeserver


def outcome(deferred: Deferred[Any]) -> Any:
    """Return what a deferred fired with: a value, an error, or nothing yet."""
    results: list[Any] = ["nothing yet"]
    deferred.addBoth(results.append)
    last = results[-1]
    return last.type if isinstance(last, Failure) else last


def test_an_answer_in_time_is_returned() -> None:
    """And the timer is called off."""
    hs = ModelHomeserver()
    asked: Deferred[int] = Deferred()
    waiting = ensureDeferred(wait_up_to(hs.runtime(), 2, asked))
    asked.callback(7)

    assert 7 == outcome(waiting)
    assert not hs.clock.getDelayedCalls()


def test_patience_ends_and_the_answer_may_still_come() -> None:
    """A late answer, or a late error, disturbs nobody."""
    hs = ModelHomeserver()
    asked: list[Deferred[int]] = [Deferred(), Deferred()]
    waiting = [ensureDeferred(wait_up_to(hs.runtime(), 2, each)) for each in asked]
    hs.clock.advance(2)
    asked[0].callback(7)
    asked[1].errback(RuntimeError())

    assert [PatienceEndedError] * 2 == [outcome(each) for each in waiting]
    assert [None, None] == [outcome(each) for each in asked]


def test_a_shared_deferred_answers_all_before_and_after() -> None:
    """Whoever waits hears of it."""
    source: Deferred[int] = Deferred()
    shared = Shared(source)
    early = shared.wait()
    source.callback(7)

    assert [7, 7] == [outcome(early), outcome(shared.wait())]


def take(
    locks: SenderLocks, sender: str = "@s:hs"
) -> tuple[Deferred[Callable[[], None]], list[Callable[[], None]]]:
    """Ask for a lock; the list holds what releases it, once it is held."""
    held: list[Callable[[], None]] = []
    waiting = ensureDeferred(locks.acquire(sender, 2))
    waiting.addCallback(held.append)
    return waiting, held


def test_a_lock_goes_round_in_order_and_is_then_forgotten() -> None:
    """One holder at a time, and nothing is kept for nobody."""
    locks = SenderLocks(ModelHomeserver().runtime())
    (_, first), (_, second), (_, other) = take(locks), take(locks), take(locks, "@t:hs")

    assert (1, 0, 1) == (len(first), len(second), len(other))
    first[0]()
    assert 1 == len(second)
    second[0]()
    other[0]()
    assert 0 == len(locks)


def test_who_waits_too_long_for_a_lock_goes_without() -> None:
    """And does not stay in the queue."""
    hs = ModelHomeserver()
    locks = SenderLocks(hs.runtime())
    _, first = take(locks)
    late, held = take(locks)
    hs.clock.advance(2)

    assert PatienceEndedError is outcome(late)
    assert not held
    first[0]()
    assert 0 == len(locks)


def test_the_clock_of_the_tests_is_the_runtimes() -> None:
    """Patience is counted on it."""
    hs = ModelHomeserver()
    hs.clock.advance(5)

    assert isinstance(hs.clock, Clock)
    assert pytest.approx(5) == hs.runtime().seconds()

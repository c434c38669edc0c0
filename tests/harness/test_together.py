"""Coroutines that run at the same time."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.python.failure import Failure

from tests.harness.together import cancellable, together


async def wait(deferred: Deferred[int]) -> int:
    """Wait for a deferred."""
    return await deferred


def test_results_come_in_order() -> None:
    """Whichever ends first."""
    first, second = Deferred[int](), Deferred[int]()
    results: list[list[int]] = []
    running = ensureDeferred(together(wait(first), wait(second)))
    running.addCallback(results.append)
    second.callback(2)
    first.callback(1)
    assert results == [[1, 2]]


def test_failure_waits_for_the_others() -> None:
    """What cleans up after an error finds nothing still running."""
    first, second = Deferred[int](), Deferred[int]()
    failures: list[Failure] = []
    running = ensureDeferred(together(wait(first), wait(second)))
    running.addErrback(failures.append)
    first.errback(ValueError("first"))
    assert failures == []
    second.callback(2)
    assert isinstance(failures[0].value, ValueError)


@pytest.mark.parametrize("cleans_up", [False, True])
def test_cancelling_cancels_all_and_waits_for_their_end(cleans_up: bool) -> None:
    """A coroutine that has to clean up may take its time."""
    cleaned: Deferred[None] = Deferred()
    failures: list[Failure] = []

    async def run() -> None:
        try:
            await Deferred()
        finally:
            if cleans_up:
                await cleaned

    running = ensureDeferred(together(run(), run()))
    running.addErrback(failures.append)
    running.cancel()
    if cleans_up:
        assert failures == []
        cleaned.callback(None)
    assert isinstance(failures[0].value, CancelledError)


async def translate(deferred: Deferred[int]) -> int:
    """Wait as Twisted's HTTP client does: a cancelled request is a broken one."""
    try:
        return await deferred
    except CancelledError as error:
        raise ConnectionError from error


def test_cancellable_passes_results_and_failures_on() -> None:
    """Where nothing is cancelled it makes no difference."""
    results: list[int] = []
    failures: list[Failure] = []
    good, bad = Deferred[int](), Deferred[int]()
    cancellable(wait(good)).addCallback(results.append)
    cancellable(wait(bad)).addErrback(failures.append)
    good.callback(1)
    bad.errback(ValueError("bad"))
    assert results == [1]
    assert isinstance(failures[0].value, ValueError)


def test_cancelled_is_cancelled_whatever_the_coroutine_makes_of_it() -> None:
    """Or who goes on after a broken connection would go on after Ctrl-C."""
    waiting = Deferred[int]()
    failures: list[Failure] = []
    running = cancellable(translate(waiting))
    running.addErrback(failures.append)
    running.cancel()
    assert waiting.called
    assert isinstance(failures[0].value, CancelledError)

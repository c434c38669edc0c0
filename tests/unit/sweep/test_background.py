"""The sweep in the background: pauses, metrics, failures."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from synapse_withheld import WithheldModule
from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.database.cancelling import Cancellable
from synapse_withheld.delivery.runtime import at_once
from synapse_withheld.sweep.background import (
    CANCEL_AFTER_S,
    MOST_FAILURES,
    REST_AFTER_FAILURE_S,
    BackgroundSweep,
    start,
)
from synapse_withheld.sweep.walk import PAUSE_S, Options, Sweep
from tests.harness.backlog import FakeRows, notice
from tests.model.homeserver import ModelHomeserver

DAY_S = 86_400


def background(rows: FakeRows, sleep: Any, clock: Clock | None = None) -> Any:
    """Return a sweep of eight rows as far as anybody knows, two at a time."""
    backlog = mock.AsyncMock(**{"estimate.return_value": 8})
    options, runtime = Options(batch_size=2), at_once(clock or Clock(), sleep)
    return BackgroundSweep(backlog, lambda: Sweep(rows, options), mock.Mock(), runtime)


def mailbox(count: int) -> FakeRows:
    return FakeRows({("@r:hs", "R", number): notice() for number in range(count)})


def test_each_batch_is_a_turn_after_which_it_rests_and_tells_how_far_it_is() -> None:
    """What is counted on the way, the end-to-end tests tell."""
    rows, sleep = mailbox(7), mock.AsyncMock()
    sweep = background(rows, sleep)
    held: list[bool] = []
    sleep.side_effect = lambda _: held.append(sweep.turn.locked)
    sweep.turn.acquire()
    process = ensureDeferred(sweep.sweep_once())
    assert (7, False) == (len(rows.table), process.called)
    sweep.turn.release()
    assert (1, True) == (len(rows.table), process.called)
    assert ([mock.call(PAUSE_S)] * 4, [False] * 4) == (sleep.mock_calls, held)
    told = [mock.call(n / 4, done=n == 4) for n in (1, 2, 3, 4)]
    assert told == sweep.metrics.sweep_at.mock_calls


def test_after_a_failure_it_rests_and_after_many_in_a_row_it_gives_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says so, and is not done; the next one tries again, after each batch."""
    rows, sleep = mailbox(7), mock.AsyncMock()
    rows.failing = MOST_FAILURES + 1
    sweep = background(rows, sleep)
    with caplog.at_level("INFO"):
        driven(sweep.sweep_once())
    assert [mock.call("sweep")] * MOST_FAILURES == sweep.metrics.failure.mock_calls
    assert [mock.call(REST_AFTER_FAILURE_S)] * MOST_FAILURES == sleep.mock_calls
    assert (7, []) == (len(rows.table), sweep.metrics.sweep_at.mock_calls)
    assert "the sweep gave up" in caplog.text

    def fail_again(seconds: float) -> None:
        if seconds == PAUSE_S and len(rows.table) == 6:
            rows.failing = MOST_FAILURES - 1

    sleep.side_effect = fail_again
    driven(sweep.sweep_once())
    assert 1 == len(rows.table)


def test_a_statement_that_does_not_come_back_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would keep a database thread, and Synapse from ending."""
    cancel = mock.Mock()
    monkeypatch.setattr(Cancellable, "cancel", cancel)
    homeserver = ModelHomeserver()
    start(WithheldModule.parse_config({"sweep": True}), homeserver, mock.Mock())
    homeserver.clock.advance(CANCEL_AFTER_S - 1)
    cancel.assert_not_called()
    homeserver.clock.advance(2)
    cancel.assert_called_once_with()


@pytest.mark.parametrize(("took_s", "rests_s"), [(600, DAY_S - 600), (90_000, PAUSE_S)])
def test_it_begins_again_as_long_after_it_began_as_was_asked_for(
    took_s: float, rests_s: float
) -> None:
    """At once where it took longer than that; each begins with nothing behind it."""
    clock, rows = Clock(), mailbox(3)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(took_s / 2)
        if len(slept) == 3:
            # What became redundant since.
            rows.table.update(mailbox(6).table)
        if len(slept) == 7:
            await Deferred()

    process = ensureDeferred(background(rows, sleep, clock).run(DAY_S))
    assert [PAUSE_S, PAUSE_S, rests_s] == slept[:3]
    assert (1, False) == (len(rows.table), process.called)

"""The sweep in the background: pauses, metrics, failures."""

from __future__ import annotations

import itertools
from typing import Any, Callable
from unittest import mock

import attrs
import pytest
from prometheus_client import REGISTRY
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.delivery.runtime import at_once
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import SERVER_NAME_LABEL
from synapse_withheld.sweep.background import (
    MOST_FAILURES,
    REST_AFTER_FAILURE_S,
    BackgroundSweep,
)
from synapse_withheld.sweep.walk import PAUSE_S, Options, Sweep
from tests.harness.backlog import FakeRows, notice

SERVER = "background.test"
DAY_S = 86_400


@attrs.define
class Slept:
    """A sleep that takes no time and is written down; it may look around."""

    look: Callable[[], Any] = lambda: None
    seconds: list[float] = attrs.Factory(list)
    seen: list[Any] = attrs.Factory(list)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.seen.append(self.look())


@pytest.fixture
def sample() -> Callable[[str], float]:
    labels = {SERVER_NAME_LABEL: SERVER} if SERVER_NAME_LABEL else {}
    of_one = {"failures_total": {"stage": "sweep"}, "sweep_rows_total": {}}
    for name in ("notices", "deleted", "deleted_bytes"):
        of_one[f"sweep_{name}_total"] = {"rule": "no_olm"}

    def value(name: str) -> float:
        more = of_one.get(name, {})
        metric = f"synapse_withheld_{name}"
        return REGISTRY.get_sample_value(metric, {**labels, **more}) or 0.0

    before = {name: value(name) for name in of_one}
    return lambda name: value(name) - before.get(name, 0)


def background(
    rows: FakeRows, sleep: Slept, estimate: int | Exception = 8
) -> BackgroundSweep:
    backlog = mock.AsyncMock()
    backlog.estimate.side_effect = itertools.repeat(estimate)
    return BackgroundSweep(
        backlog,
        lambda: Sweep(rows, Options(batch_size=2)),
        Metrics(SERVER),
        at_once(Clock(), sleep),
    )


def mailbox(count: int) -> FakeRows:
    return FakeRows({("@r:hs", "R", number): notice() for number in range(count)})


def test_it_rests_after_each_batch_and_tells_how_far_it_is(
    sample: Callable[[str], float],
) -> None:
    slept = Slept(lambda: (sample("sweep_position"), sample("sweep_done")))
    driven(background(mailbox(7), slept).sweep_once())
    assert [PAUSE_S] * 4 == slept.seconds
    assert [(0.25, 0), (0.5, 0), (0.75, 0), (1, 1)] == slept.seen
    counted = [
        sample(f"sweep_{name}_total")
        for name in ("rows", "notices", "deleted", "deleted_bytes")
    ]
    assert [7, 7, 6, 6 * len(notice())] == counted


def test_after_a_failure_it_rests_and_after_many_in_a_row_it_gives_up(
    sample: Callable[[str], float], caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and is not done; the next one tries again."""
    rows, slept = mailbox(7), Slept()
    rows.failing = MOST_FAILURES + 1
    sweep = background(rows, slept)
    with caplog.at_level("INFO"):
        driven(sweep.sweep_once())
    assert MOST_FAILURES == sample("failures_total")
    assert [REST_AFTER_FAILURE_S] * MOST_FAILURES == slept.seconds
    assert (7, 0) == (len(rows.table), sample("sweep_done"))
    assert "the sweep gave up" in caplog.text
    driven(sweep.sweep_once())
    assert (1, 1) == (len(rows.table), sample("sweep_done"))


def test_it_takes_turns_with_whoever_else_asks_in_the_background() -> None:
    """Each of its batches is one turn, a failing one too."""
    rows = mailbox(7)
    rows.failing = 1
    held: list[bool] = []
    slept = Slept()
    sweep = background(rows, slept)
    slept.look = lambda: held.append(bool(sweep.turn.locked))
    sweep.turn.acquire()
    process = ensureDeferred(sweep.sweep_once())
    assert (7, False) == (len(rows.table), process.called)
    sweep.turn.release()
    assert (1, True) == (len(rows.table), process.called)
    assert [False] * 5 == held


@pytest.mark.parametrize(("took_s", "rests_s"), [(600, DAY_S - 600), (90_000, PAUSE_S)])
def test_it_begins_again_as_long_after_it_began_as_was_asked_for(
    took_s: float, rests_s: float
) -> None:
    """At once where it took longer than that; each begins with nothing behind it."""
    clock, rows = Clock(), mailbox(3)
    slept: list[float] = []
    ends: Deferred[None] = Deferred()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(took_s / 2)
        if len(slept) == 3:
            # What became redundant since.
            rows.table.update(mailbox(6).table)
        if len(slept) == 7:
            await ends

    sweep = background(rows, Slept())
    sweep.runtime = at_once(clock, sleep)
    process = ensureDeferred(sweep.run(DAY_S))
    assert [PAUSE_S, PAUSE_S, rests_s] == slept[:3]
    assert (1, False) == (len(rows.table), process.called)

"""Counting failures, logging them now and then, standing aside."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY
from synapse_withheld.database.store import StatementError
from twisted.internet.task import Clock

from synapse_withheld.delivery.failures import Failures
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import SERVER_NAME_LABEL


class Aside:
    """Failures on a clock, and how often the module began to stand aside."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.times = 0
        self.failures = Failures(Metrics("failures"), self.clock.seconds, self._begin)

    def _begin(self) -> None:
        self.times += 1


def counted(stage: str) -> float:
    """Return the counter of a stage."""
    labels = {"stage": stage}
    if SERVER_NAME_LABEL:
        labels[SERVER_NAME_LABEL] = "failures"
    return REGISTRY.get_sample_value("synapse_withheld_failures_total", labels) or 0


def test_each_failure_is_counted_and_one_a_minute_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Per stage, with a traceback."""
    aside = Aside()
    before = counted("record")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            aside.failures.note("record", RuntimeError("boom"))
        aside.failures.note("decide", RuntimeError("bang"))
        aside.clock.advance(60)
        aside.failures.note("record", RuntimeError("boom"))

    assert 4 == counted("record") - before
    stages = [record.getMessage().split("'")[1] for record in caplog.records]
    assert ["record", "decide", "record"] == stages
    assert "boom" in caplog.text


def test_statements_that_keep_failing_make_it_stand_aside_for_a_minute() -> None:
    """Five within a minute."""
    aside = Aside()
    for number in range(5):
        assert not aside.failures.standing_aside
        aside.failures.note("statement", StatementError(number))

    assert aside.failures.standing_aside
    assert 1 == aside.times
    aside.clock.advance(60)
    assert not aside.failures.standing_aside


def test_statements_that_fail_now_and_then_do_not() -> None:
    """Fewer than five in any minute."""
    aside = Aside()
    for _ in range(20):
        aside.failures.note("statement", StatementError())
        aside.clock.advance(16)

    assert 0 == aside.times


def test_finding_4_what_a_user_can_provoke_does_not() -> None:
    """Only failed statements count; nobody switches it off for others."""
    aside = Aside()
    for _ in range(20):
        aside.failures.note("decide", ValueError("a NUL in an identifier"))

    assert 0 == aside.times
    assert not aside.failures.standing_aside

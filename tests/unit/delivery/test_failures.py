"""Counting failures, and logging them now and then."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY
from twisted.internet.task import Clock

from synapse_withheld.delivery.failures import Failures
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import SERVER_NAME_LABEL


def counted(stage: str) -> float:
    labels = {"stage": stage}
    if SERVER_NAME_LABEL:
        labels[SERVER_NAME_LABEL] = "failures"
    return REGISTRY.get_sample_value("synapse_withheld_failures_total", labels) or 0


def test_each_failure_is_counted_and_one_a_minute_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    failures = Failures(Metrics("failures"), clock.seconds)
    before = counted("record")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            failures.note("record", RuntimeError("boom"))
        failures.note("decide", RuntimeError("bang"))
        clock.advance(60)
        failures.note("record", RuntimeError("boom"))

    assert counted("record") - before == 4
    said = "synapse_withheld failed at stage '%s'; messages are stored as Synapse "
    said += "without it would (logged once a minute)"
    assert [said % stage for stage in ("record", "decide", "record")] == [
        record.getMessage() for record in caplog.records
    ]
    assert "RuntimeError: boom" in caplog.text
    exc_info = caplog.records[0].exc_info
    assert exc_info is not None
    assert RuntimeError is exc_info[0]

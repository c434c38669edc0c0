"""What is told of the time, and of failures."""

from __future__ import annotations

import logging
import types
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from synapse_withheld.delivery import runtime
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics


def test_the_time_of_day_is_told_in_milliseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a homeserver, too, where it is as late as the clock says."""
    of_day = types.SimpleNamespace(time=lambda: 12.3456)
    monkeypatch.setattr(runtime, "time", of_day)
    clock = Clock()
    clock.advance(12.3456)

    assert 12346 == runtime.now_ts()
    assert 12346 == runtime.at_once(clock, cast(Any, None)).now_ts()


def test_each_failure_is_counted_and_one_a_minute_is_logged(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    failures = Failures(metrics, clock.seconds)
    for _ in range(3):
        failures.note("record", RuntimeError("boom"))
    failures.note("decide", RuntimeError("bang"))
    clock.advance(60)
    failures.note("record", RuntimeError("boom"))

    counted = metrics.read(series.FAILURES)
    assert {("record", 4), ("decide", 1)} == {
        (labels["stage"], value) for labels, value in counted if value
    }
    said = "synapse_withheld failed at stage '%s'; messages are stored as Synapse "
    said += "without it would (logged once a minute)"
    assert [said % stage for stage in ("record", "decide", "record")] == [
        record.getMessage() for record in caplog.records
    ]
    assert {logging.ERROR} == {record.levelno for record in caplog.records}
    assert "RuntimeError: boom" in caplog.text
    exc_info = caplog.records[0].exc_info
    assert exc_info is not None
    assert RuntimeError is exc_info[0]

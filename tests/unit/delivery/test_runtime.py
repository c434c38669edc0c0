"""What is told of the time."""

from __future__ import annotations

import types
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from synapse_withheld.delivery import runtime


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

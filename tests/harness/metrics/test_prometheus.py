"""The harness does not let a missing or broken Prometheus pass for a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.metrics.prometheus import Prometheus
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from pathlib import Path


@in_reactor
async def test_a_prometheus_that_refuses_its_rules_does_not_start(
    tmp_path: Path,
) -> None:
    """Its log says why, and no process is left."""
    rules = "groups: [{name: g, rules: [{record: r, expr: 'sum('}]}]"
    prometheus = Prometheus(tmp_path, "127.0.0.1:1", {"job": "none"}, rules)
    with pytest.raises(AssertionError, match="could not parse expression"):
        await prometheus.start()
    await prometheus.stop()

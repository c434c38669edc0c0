"""The harness does not let a missing or broken Prometheus pass for a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.prometheus import Prometheus, program
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_program_skips_but_fails_where_nothing_may_be_skipped(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    """With a line that says what to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no promtool: apt-get install prometheus"):
        program("promtool")


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

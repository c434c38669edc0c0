"""What the tests wait and ask with does not let a fault pass for none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred

from tests.harness import waiting
from tests.harness.commands import program


@ensureDeferred
async def test_what_never_becomes_true_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.1)
    with pytest.raises(AssertionError):
        await waiting.eventually(lambda: 1, 2)

    async def look() -> int:
        return 5

    with pytest.raises(AssertionError, match="5"):
        await waiting.until(look, lambda _: False)


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_program_skips_but_fails_where_nothing_may_be_skipped(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no promtool: apt-get install prometheus"):
        program("promtool")


@pytest.mark.parametrize(("body", "code"), [("return 1", 1), ("raise ValueError", 2)])
def test_what_runs_ends_with_its_code(body: str, code: int) -> None:
    lines = (
        "import sys",
        "from tests.harness.waiting import run",
        f"async def main(): {body}",
        "sys.exit(run(main))",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, check=False).returncode == code  # noqa: S603

"""The harness does not let a missing program pass for a good one."""

from __future__ import annotations

import pytest

from tests.harness.processes.programs import PACKAGES, program


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_program_skips_but_fails_where_nothing_may_be_skipped(
    monkeypatch: pytest.MonkeyPatch, name: str, ci: str, outcome: type[BaseException]
) -> None:
    """With a line that says what to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=f"no {name}: apt-get install {PACKAGES[name]}"):
        program(name)

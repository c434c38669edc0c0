"""The progress bar."""

from __future__ import annotations

import io

import pytest

from synapse_withheld.cli.shared.walking.bar import Bar, drawn


def test_a_bar_fills_up() -> None:
    """As far as the number of rows is known."""
    assert f"[{'-' * 30}]   0%  0 of about 1,000 rows" == drawn(0, 1000)
    assert f"[{'#' * 15}{'-' * 15}]  50%  500 of about 1,000 rows" == drawn(500, 1000)
    assert f"[{'#' * 30}] 100%  1,500 of about 1,000 rows" == drawn(1500, 1000)
    assert "1,500 rows" == drawn(1500, 0)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_terminals(
    terminal: bool,
) -> None:
    """In a log it would be noise."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with Bar(0, stream) as bar:
        bar.show(5)
    assert ("\r0 rows\r5 rows\n" if terminal else "") == stream.getvalue()

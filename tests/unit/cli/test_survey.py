"""`survey`: on what databases it works, and what it prints to terminals.

What it counts is held against a sweep in the end-to-end tests.
"""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.walking.bar import Bar, drawn
from tests.harness.databases.backlog import notice, other
from tests.unit.cli.test_sweep import (  # noqa: F401 a fixture
    file_of,
    make_database,
    nobody,
    write,
)

TEXTS = [notice(), other(), notice()]


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("directory_too", [True, False])
def test_what_may_only_be_read_is_surveyed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    directory_too: bool,
) -> None:
    """In the mode that Synapse uses as well, whose files cannot be made there."""
    directory = tmp_path / "data"
    directory.mkdir()
    config = make_database(directory, TEXTS)
    connection = sqlite3.connect(file_of(config))
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.close()
    file_of(config).chmod(0o444)
    if directory_too:
        directory.chmod(0o555)
    assert 0 == main(["survey", "-c", write(tmp_path, config), "--json"])
    assert 3 == json.loads(capsys.readouterr().out)["inbox"]["rows"]
    directory.chmod(0o700)


def test_names_move_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [other().replace("test.plain", "\\u001b[2Jevil")]
    assert 0 == main(["survey", "-c", write(tmp_path, make_database(tmp_path, texts))])
    out = capsys.readouterr().out
    assert "evil" in out
    assert all(each.isprintable() for line in out.split("\n") for each in line)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_fills_up_on_a_terminal(terminal: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with Bar(0, stream) as bar:
        bar.show(5)
    assert ("\r0 rows\r5 rows\n" if terminal else "") == stream.getvalue()
    assert f"[{'#' * 15}{'-' * 15}]  50%  500 of about 1,000 rows" == drawn(500, 1000)

"""`survey`: what it prints, and on what databases it works."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.walking.bar import Bar, drawn
from synapse_withheld.sweep.survey import Survey
from tests.harness.databases.backlog import notice, other
from tests.unit.cli.test_sweep import (  # noqa: F401 a fixture
    file_of,
    make_database,
    nobody,
    write,
)

TEXTS = [notice(), other(), notice()]


def test_the_json_says_what_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And which rules are on; nothing changes."""
    config = make_database(tmp_path, TEXTS, rules={"withheld": True})
    before = file_of(config).read_bytes()
    assert 0 == main(["survey", "-c", write(tmp_path, config), "--json"])
    assert before == file_of(config).read_bytes()
    said = json.loads(capsys.readouterr().out)
    size = len(notice())
    withheld = {"type": "m.room_key.withheld", "code": "m.no_olm"}
    plain = {"type": "test.plain"}
    longest = {
        "user_id": "@r:hs",
        "device_id": "R",
        "rows": 3,
        "syncs": 1,
        "types": [{**withheld, "share": 0.6667}, {**plain, "share": 0.3333}],
    }
    total = {"rows": 3, "bytes": 2 * size + len(other())}
    assert said["done"] is True
    assert said["inbox"] == {
        **total,
        "mailboxes": 1,
        "types": [
            {**withheld, "rows": 2, "bytes": 2 * size},
            {**plain, "rows": 1, "bytes": len(other())},
        ],
        "longest": [longest],
        "gone": {"mailboxes": 1, **total},
        "hidden": {"mailboxes": 0, "rows": 0, "bytes": 0},
    }
    empty = {"rows": 0, "bytes": 0, "servers": 0, "types": [], "longest": []}
    assert said["outbox"] == empty
    counts = {"notices": 2, "rows": 1, "bytes": size, "left_alone": 0}
    assert said["rules"]["no_olm"] == {"on": True, **counts}
    assert {"no_olm", "withheld"} == {
        rule for rule, each in said["rules"].items() if each["on"]
    }


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


def test_a_survey_that_is_stopped_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the batch that it is at."""
    path = write(tmp_path, make_database(tmp_path, TEXTS))
    steps: list[Any] = []

    def stopping(self: Any) -> Any:
        steps.append(self)
        os.kill(os.getpid(), 15)
        return step(self)

    step = Survey.step
    monkeypatch.setattr(Survey, "step", stopping)
    assert 1 == main(["survey", "-c", path, "--batch-size", "1"])
    out = capsys.readouterr().out.splitlines()
    assert 1 == len(steps)
    assert "device_inbox: 1 rows" in out[0]
    assert "stopped before the end" == out[-1]


def test_names_move_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody chooses types."""
    texts = [other().replace("test.plain", "\\u001b[2Jevil")]
    assert 0 == main(["survey", "-c", write(tmp_path, make_database(tmp_path, texts))])
    out = capsys.readouterr().out
    assert "evil" in out
    assert all(each.isprintable() for line in out.split("\n") for each in line)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_fills_up_on_a_terminal(terminal: bool) -> None:
    """In a log it would be noise."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with Bar(0, stream) as bar:
        bar.show(5)
    assert ("\r0 rows\r5 rows\n" if terminal else "") == stream.getvalue()
    assert f"[{'#' * 15}{'-' * 15}]  50%  500 of about 1,000 rows" == drawn(500, 1000)

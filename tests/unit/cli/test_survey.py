"""`survey`: on what databases it works, and what it prints to terminals.

What it counts is held against a sweep in the end-to-end tests.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.commands import survey
from synapse_withheld.cli.shared.walking.bar import Bar, drawn
from tests.harness.backlog import notice, other
from tests.unit.cli.test_sweep import (  # noqa: F401 a fixture
    assert_one_line,
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


def two_mailboxes(directory: Path) -> dict[str, Any]:
    """Have devices, so that there is a middle, and rows on both sides of it."""
    config = make_database(directory, TEXTS)
    with closing(sqlite3.connect(file_of(config))) as connection, connection:
        sql = "INSERT INTO device_inbox SELECT '@a:hs', 'A', stream_id, message_json "
        connection.execute(f"{sql} FROM device_inbox")
        devices = [("@a:hs", "A"), ("@r:hs", "R")]
        sql = "INSERT INTO devices (user_id, device_id) VALUES (?, ?)"
        connection.executemany(sql, devices)
    return config


def test_an_error_in_the_second_process_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """That alone reads outboxes."""
    config = two_mailboxes(tmp_path)
    table = "device_federation_outbox"
    with closing(sqlite3.connect(file_of(config))) as connection, connection:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN messages_json TO gone")
    assert 2 == main(["survey", "-c", write(tmp_path, config)])
    assert_one_line(capfd, "^Cannot read the database: .*: no such column: messages_js")


def test_without_devices_there_is_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "Aside", None)
    assert 0 == main(["survey", "-c", write(tmp_path, make_database(tmp_path, TEXTS))])


def processes(group: int) -> list[str]:
    """Return the command lines of the processes of a group, but for finished ones."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        # One that ends meanwhile is none.
        with suppress(OSError):
            if os.getpgid(int(each.name)) == group:
                found.append((each / "cmdline").read_text())
    return [line for line in found if line]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_stays_behind(tmp_path: Path, asked: str) -> None:
    """Ctrl-C reaches both; and what was found so far is printed."""
    path = write(tmp_path, two_mailboxes(tmp_path))
    command = [sys.executable, "-m", "synapse_withheld.cli", "survey", "-c", path]
    more = ("--json", "--batch-size", "1", "--pause", "20s")
    process = subprocess.Popen(  # noqa: S603 our own command
        [*command, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    number = signal.Signals[asked]
    while not any("spawn_main" in line for line in processes(process.pid)):
        time.sleep(0.05)
    # Well into its first rest, which lasts too long for anybody to wait.
    time.sleep(2)
    send = os.killpg if asked == "SIGINT" else os.kill
    send(process.pid, number)
    out, err = process.communicate(timeout=15)
    assert "" == err
    if asked != "SIGKILL":
        said = json.loads(out)
        assert (1, False) == (process.returncode, said["done"])
        assert 2 <= said["inbox"]["rows"] < 2 * len(TEXTS)
    end = time.monotonic() + 10
    while processes(process.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert [] == processes(process.pid)


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

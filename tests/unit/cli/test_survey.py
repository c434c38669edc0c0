"""`survey`: its second process, and what it prints to terminals.

What it counts is held against plain counting on both databases.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.commands import survey
from synapse_withheld.cli.walking.aside import Aside, Rest
from synapse_withheld.cli.walking.bar import Bar, drawn
from synapse_withheld.cli.walking.database import DatabaseError
from synapse_withheld.database.database import StatementError
from tests.harness.backlog import notice, other
from tests.unit.cli.conftest import Run, file_of, make_database, write

TEXTS = [notice(), other(), notice()]


def walk(rest: Rest, most: int) -> dict[str, int]:
    """Walk so many rows, or until it is to stop."""
    rows = 1
    while not rest(rows, 0) and rows < most:
        rows += 1
    return {"rows": rows}


def fail(_: Rest, *, is_killed: bool) -> None:
    if is_killed:
        os.kill(os.getpid(), signal.SIGKILL)
    raise StatementError("statement") from DatabaseError("asked for")


def result_of(aside: Aside) -> Any:
    while aside.result is None:
        aside.hear(0.1)
    return aside.result


def test_a_second_process_tells_how_far_it_is_and_stops_when_it_is_to() -> None:
    """With what it has; and nobody has to listen to its end."""
    with closing(Aside(walk, 10**12)) as aside:
        while not aside.rows:
            aside.hear(0.1)
        aside.stop()
        assert aside.rows <= result_of(aside)["rows"]
    Aside(walk, 10**12).close()


@pytest.mark.parametrize(
    ("is_killed", "says"),
    [(False, "asked for"), (True, "the second process ended too early")],
)
def test_its_error_is_one_in_the_first_process(is_killed: bool, says: str) -> None:
    told = pytest.raises(DatabaseError, match=f"^{says}$")
    with closing(Aside(partial(fail, is_killed=is_killed))) as aside, told:
        result_of(aside)


def test_it_leaves_the_handlers_of_signals_as_they_were() -> None:
    asked = (signal.SIGINT, signal.SIGTERM)
    earlier = list(map(signal.getsignal, asked))
    Aside(walk, 1).close()
    assert earlier == list(map(signal.getsignal, asked))


def two_mailboxes(directory: Path) -> dict[str, Any]:
    """Have devices, so that there is a middle, and rows on both sides of it."""
    config = make_database(directory, TEXTS)
    with closing(sqlite3.connect(file_of(config))) as connection:
        connection.executescript(
            """
            INSERT INTO device_inbox
                SELECT '@a:hs', 'A', stream_id, message_json FROM device_inbox;
            INSERT INTO devices (user_id, device_id)
                VALUES ('@a:hs', 'A'), ('@r:hs', 'R');
            """
        )
    return config


def test_an_error_in_the_second_process_is_told_once(tmp_path: Path, run: Run) -> None:
    """That alone reads outboxes."""
    config = two_mailboxes(tmp_path)
    table = "device_federation_outbox"
    with closing(sqlite3.connect(file_of(config))) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN messages_json TO gone")
    said = run("survey", "-c", write(tmp_path, config)).refusal
    assert re.match("Cannot read the database: .*: no such column: messages_js", said)


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
    process = subprocess.Popen(  # noqa: S603 our own command
        [*command, "--json", "--batch-size", "1", "--pause", "20s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not any("spawn_main" in line for line in processes(process.pid)):
        time.sleep(0.05)
    # Well into its first rest, which lasts too long for anybody to wait.
    time.sleep(2)
    send = os.killpg if asked == "SIGINT" else os.kill
    send(process.pid, signal.Signals[asked])
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


def test_names_move_no_cursor_and_without_devices_there_is_one_process(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "Aside", None)
    texts = [other().replace("test.plain", "\\u001b[2Jevil")]
    said = run("survey", "-c", write(tmp_path, make_database(tmp_path, texts)))
    assert "evil" in said.out
    assert all(each.isprintable() for line in said.out.split("\n") for each in line)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_fills_up_on_a_terminal(terminal: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with Bar(0, stream) as bar:
        bar.show(5)
    assert ("\r0 rows\r5 rows\n" if terminal else "") == stream.getvalue()
    assert f"[{'#' * 15}{'-' * 15}]  50%  500 of about 1,000 rows" == drawn(500, 1000)

"""`sweep` and `survey` by hand: what they connect to, and why they do not begin.

What they find is held against plain counting on both databases.
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
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.walking.database import (
    TRIES,
    Connection,
    DatabaseError,
    database_section,
)
from synapse_withheld.cli.walking.parallel import Aside, Rest
from synapse_withheld.cli.walking.walk import Bar, driven
from tests.unit.cli.conftest import (
    TEXTS,
    Run,
    file_of,
    make_database,
    with_module,
    write,
)

SQLITE = {"name": "sqlite3", "args": {"database": "db"}}
POSTGRES = {"name": "psycopg2", "args": {"password": "sEcReT", "nonsense": 1}}


def test_files_that_do_not_name_the_module_are_not_all(
    tmp_path: Path, run: Run
) -> None:
    """One that was not given may say `mode: observe`."""
    config = {"database": make_database(tmp_path)["database"]}
    says = "do not name the module.* every file .* --enforce "
    assert re.search(says, run("sweep", config).refusal)
    for choice, deleted in (("--dry-run", 0), ("--enforce", 2)):
        assert [deleted] == run("sweep", config, "--json", choice).told("deleted")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "the files have no section 'database': give the file that"),
        ({"database": {"name": "mysql"}}, "'database' does not name 'psycopg2' or"),
        ({"database": {**SQLITE, "args": "db"}}, "'database' does not name .* 'args'"),
        ({"database": SQLITE}, "there is no db; it is looked for from here"),
        ({"database": POSTGRES}, "not one of Synapse: invalid .*nonsense"),
        (with_module({"mode": "observe"}), "'mode' is observe.* --dry-run .* --enforc"),
        (with_module({"rules": {"no_olm": False}}), "All 'rules' are false"),
        (with_module({"mod": "x"}), "'mod' is no known key"),
    ],
)
def test_why_nothing_is_deleted_is_said(run: Run, config: Any, says: str) -> None:
    """On standard error, with an exit code of its own, and no file is made."""
    said = run("sweep", {**with_module({}), **config}).refusal
    assert re.search(says, said)
    assert "sEcReT" not in said
    assert not Path("db").exists()


def test_a_configuration_that_is_missing_is_named(run: Run) -> None:
    says = "Cannot read the configuration: .*nowhere.yaml"
    assert re.search(says, run("sweep", "-c", "nowhere.yaml").refusal)


@pytest.mark.parametrize("command", ["sweep", "survey"])
@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no such table: "), (b"something else" * 1000, "file is not a database")],
)
def test_what_is_no_database_of_synapse_is_told_in_one_line(
    tmp_path: Path, run: Run, command: str, content: bytes, says: str
) -> None:
    (tmp_path / "db").write_bytes(content)
    section = {"name": "sqlite3", "args": {"database": str(tmp_path / "db")}}
    said = run(command, {"database": section, **with_module({})}).refusal
    assert re.search(f"is not one of Synapse: {says}", said)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_what_may_only_be_read_is_surveyed_and_not_swept(
    tmp_path: Path, run: Run, mode: str
) -> None:
    """In the mode that Synapse uses as well, whose files cannot be made there."""
    directory = tmp_path / "data"
    directory.mkdir()
    config = make_database(directory)
    with closing(sqlite3.connect(file_of(config))) as connection:
        # Without devices it is one process: nobody may start a second one.
        connection.execute("DELETE FROM devices")
        connection.commit()
        connection.execute(f"PRAGMA journal_mode = {mode}")
    file_of(config).chmod(0o444)
    directory.chmod(0o555)
    for command in (["survey"], ["sweep", "--dry-run"]):
        assert [True] == run(*command, config, "--json").told("done")
    says = "cannot be written, .*: attempt to write a readonly database; run this as"
    assert re.search(says, run("sweep", config).refusal)
    file_of(config).chmod(0)
    assert "cannot be read, " in run("survey", config).refusal
    directory.chmod(0o700)


def test_without_the_driver_of_postgres_it_is_said_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    said = run("survey", {"database": POSTGRES}).refusal
    assert "run this with the Python that Synapse runs with" in said


def test_the_section_is_that_of_the_main_store() -> None:
    """Synapse may use several databases; that of the state has no mailboxes."""
    state = {**SQLITE, "data_stores": ["state"]}
    for main in (SQLITE, {**SQLITE, "data_stores": ["main"]}):
        assert main == database_section({"databases": {"a": state, "b": main}})
    with pytest.raises(ProblemError):
        database_section({"databases": {"a": state}})


@pytest.mark.parametrize(
    ("problem", "failing", "tries"),
    [("locked", TRIES - 1, TRIES), ("locked", TRIES, TRIES), ("no such table", 1, 1)],
)
def test_what_others_were_in_the_way_of_is_tried_again(
    problem: str, failing: int, tries: int
) -> None:
    """But not for ever, and nothing else: it would fail again."""
    connection = Connection(sqlite3.connect(":memory:"), "sqlite3")
    tried: list[Connection] = []

    def statement(each: Connection) -> None:
        tried.append(each)
        if len(tried) <= failing:
            raise sqlite3.OperationalError(problem)

    fails = pytest.raises(DatabaseError, match=f"statement: {problem}")
    with nullcontext() if failing < tries else fails:
        driven(connection.run("statement", statement))
    assert tries == len(tried)


def die(_: Rest) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_death_of_the_second_process_is_an_error_in_the_first() -> None:
    told = pytest.raises(DatabaseError, match="second process ended too early")
    with closing(Aside(die)) as aside, told:
        aside.hear(60)


def test_an_error_in_the_second_process_is_told_once(tmp_path: Path, run: Run) -> None:
    """That alone reads outboxes."""
    config = make_database(tmp_path)
    table = "device_federation_outbox"
    with closing(sqlite3.connect(file_of(config))) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN messages_json TO gone")
    said = run("survey", config).refusal
    assert re.match("Cannot use the database: .*: no such column: messages_js", said)


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
    path = write(tmp_path, make_database(tmp_path))
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


def test_a_bar_fills_up_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    for of_about, end in (
        (0, "\r0 rows\r500 rows\n"),
        (1000, f"\r[{'#' * 15}{'-' * 15}]  50%  500 of about 1,000 rows\n"),
    ):
        with Bar(of_about) as bar:
            bar.show(500)
        assert stream.getvalue().endswith(end)

"""`sweep` and `survey` by hand: what they connect to, and why they do not begin.

What they find is held against plain counting on both databases.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.arguments import CannotSayError
from synapse_withheld.cli.walking.database import TRIES, Connection, DatabaseError
from synapse_withheld.cli.walking.parallel import Aside
from synapse_withheld.cli.walking.place import noted_in
from synapse_withheld.cli.walking.walk import Rest, driven, resting
from synapse_withheld.sweep.walk import Progress
from tests.unit.cli.conftest import Run, file_of, make_database, with_module

SQLITE = {"name": "sqlite3", "args": {"database": "db"}}
STATE = {**SQLITE, "args": {"database": "state"}, "data_stores": ["state"]}
POSTGRES = {"name": "psycopg2", "args": {"password": "sEcReT", "nonsense": 1}}


def test_files_that_do_not_name_the_module_are_not_all(
    tmp_path: Path, run: Run
) -> None:
    """One that was not given may say `mode: observe`."""
    config = {"database": make_database(tmp_path)["database"]}
    says = "do not name the module; give every file .* --enforce "
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
        # Synapse may use several; that of the state has no mailboxes.
        ({"databases": {"a": STATE}}, "the files have no section 'database'"),
        ({"databases": {"a": STATE, "b": SQLITE}}, "there is no db; it is looked"),
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


def test_what_cannot_be_opened_is_told_in_one_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"name": "sqlite3", "args": {"database": str(tmp_path / "db")}}
    for content, says in ((b"", "no such table: "), (b"else" * 1000, "not a database")):
        (tmp_path / "db").write_bytes(content)
        said = run("survey", {"database": section}).refusal
        assert re.search(f"is not one of Synapse: .*{says}", said)
    says = "Cannot read the configuration: .*nowhere.yaml"
    assert re.search(says, run("survey", "-c", "nowhere.yaml").refusal)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    said = run("survey", {"database": POSTGRES}).refusal
    assert "run this with the Python that Synapse runs with" in said


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
    with closing(sqlite3.connect(file_of(config))) as connection:
        table = "device_federation_outbox"
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN messages_json TO gone")
    said = run("survey", config).refusal
    assert re.match("Cannot use the database: .*: no such column: messages_js", said)


def test_a_bar_fills_up_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    with resting(1000) as rest:
        assert not rest(500, 0)
    half = f"\r[{'#' * 15}{'-' * 15}]  50%  500 of about 1,000 rows\n"
    assert stream.getvalue().endswith(half)


WORK: dict[str, Any] = {"database": "db", "rules": ["no_olm"], "dry_run": False}
NOTED: dict[str, Any] = {"work": WORK, "user_id": "@u:hs", "device_id": "D"}
NO_PLACE = "does not say where a sweep was"


@pytest.mark.parametrize(
    ("text", "work", "says"),
    [
        # What another sweep passed over is not what this one would.
        (NOTED, {"database": "db2"}, 'another sweep: .*"db", .*, not .*"db2"'),
        (NOTED, {"rules": ["no_olm", "withheld"]}, 'another sweep: .* "withheld"'),
        ("\xff", {}, NO_PLACE),
        ("[" * 100_000, {}, NO_PLACE),
        ({**NOTED, "work": 5}, {}, "another sweep: 5, not"),
        ({**NOTED, "user_id": "@a\0:hs"}, {}, NO_PLACE),
        ({**NOTED, "device_id": None}, {}, NO_PLACE),
    ],
)
def test_what_is_no_place_of_such_a_sweep_is_refused_and_stays(
    tmp_path: Path, text: Any, work: dict[str, Any], says: str
) -> None:
    file = tmp_path / "place"
    before = text if isinstance(text, str) else json.dumps(text)
    file.write_text(before, encoding="latin-1")
    refused = pytest.raises(CannotSayError, match=f"{says}.*; name another file")
    with refused, noted_in(file, {**WORK, **work}):
        pass
    assert before == file.read_text(encoding="latin-1")


def test_a_place_is_of_one_sweep_at_a_time_until_that_is_done(tmp_path: Path) -> None:
    """Whatever was there before, and at whatever moment it ends."""
    file = tmp_path / "place"
    in_use = pytest.raises(CannotSayError, match="is in use by another sweep")
    begun = []
    for end in (
        Progress(mailbox=("@u:hs", "D" * 50)),
        Progress(mailbox=("@u:hs", "ü")),
        Progress(done=True),
        Progress(),
    ):
        with noted_in(file, WORK) as (begin, note):
            begun.append(begin)
            with in_use, noted_in(file, WORK):
                pass
            note(end)
    assert [None, ("@u:hs", "D" * 50), ("@u:hs", "ü"), None] == begun


def test_a_file_that_cannot_be_written_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    for where in ("nowhere/place", ".", "full disk"):
        refused = pytest.raises(CannotSayError, match=r"cannot be written: .*; name")
        with refused, noted_in(tmp_path / where, WORK):
            pass

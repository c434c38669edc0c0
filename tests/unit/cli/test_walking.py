"""`sweep` and `survey` by hand: what they connect to, and why they do not begin."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.homeserver.configuration import ConfigProblemError
from synapse_withheld.cli.walking.database import (
    TRIES,
    Connection,
    DatabaseError,
    database_section,
)
from synapse_withheld.cli.walking.walk import driven
from tests.harness.backlog import notice
from tests.unit.cli.conftest import (
    Run,
    file_of,
    make_database,
    with_module,
    write,
)

SQLITE = {"name": "sqlite3", "args": {"database": "db"}}
SCOPED = [notice(session_id="a"), notice(session_id="b")]


@pytest.mark.parametrize("merges", [True, False])
def test_the_rule_is_that_of_the_modules_configuration(
    tmp_path: Path, run: Run, merges: bool
) -> None:
    """Scopes that the module keeps apart, the sweep keeps apart."""
    path = write(tmp_path, make_database(tmp_path, SCOPED, merge_scopes=merges))
    assert merges == json.loads(run("sweep", "-c", path, "--json").out)["deleted"]


def test_files_that_do_not_name_the_module_are_not_all(
    tmp_path: Path, run: Run
) -> None:
    """One that was not given may say `mode: observe`."""
    config = make_database(tmp_path, SCOPED)
    path = write(tmp_path, {"database": config["database"]})
    says = "do not name the module.* every file .* --enforce "
    assert re.search(says, run("sweep", "-c", path).refusal)
    for choice, deleted in (("--dry-run", 0), ("--enforce", 1)):
        answer = run("sweep", "-c", path, "--json", choice)
        assert deleted == json.loads(answer.out)["deleted"]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "the files have no section 'database': give the file that has"),
        ({"database": []}, "'database' is list: make it a mapping"),
        ({"database": {"name": "mysql"}}, "'database: name' is 'mysql': name 'psyc"),
        ({"database": {**SQLITE, "args": "db"}}, "'database: args' is str: make it"),
        ({"database": SQLITE}, "Cannot .* the database: there is no database db"),
        (None, "Cannot read the configuration: .*nowhere.yaml"),
        (with_module({"mode": "observe"}), "'mode' is observe.* --dry-run .* --enforc"),
        (with_module({"rules": {"no_olm": False}}), "All 'rules' are false"),
        (with_module({"mod": "x"}), "'mod' is no known key"),
    ],
)
def test_why_nothing_is_deleted_is_said(
    tmp_path: Path, run: Run, config: Any, says: str
) -> None:
    """On standard error, with an exit code of its own, and no file is made."""
    path = "nowhere.yaml" if config is None else write(tmp_path, config)
    assert re.search(says, run("sweep", "-c", path).refusal)
    assert not Path("db").exists()


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
    answer = run(command, "-c", write(tmp_path, {"database": section}))
    says = f"not a database of Synapse, or not one .*: {says}"
    assert re.search(says, answer.refusal)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("directory_too", [True, False])
def test_what_may_only_be_read_is_surveyed_and_not_swept(
    tmp_path: Path, run: Run, mode: str, directory_too: bool
) -> None:
    """In the mode that Synapse uses as well, whose files cannot be made there."""
    directory = tmp_path / "data"
    directory.mkdir()
    config = make_database(directory, SCOPED)
    with closing(sqlite3.connect(file_of(config))) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    file_of(config).chmod(0o444)
    directory.chmod(0o555 if directory_too else 0o755)
    path = write(tmp_path, config)
    for command in (["survey"], ["sweep", "--dry-run"]):
        assert json.loads(run(*command, "-c", path, "--json").out)["done"]
    readonly = "attempt to write a readonly database"
    says = f"nothing may be deleted there: {readonly}; run this|be read: {readonly}"
    assert re.search(says, run("sweep", "-c", path).refusal)
    directory.chmod(0o700)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("hidden", ["file", "directory"])
def test_a_file_that_may_not_be_read_is_told_in_one_line(
    tmp_path: Path, run: Run, hidden: str
) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    config = make_database(directory, [notice()])
    path = write(tmp_path, config)
    (file_of(config) if hidden == "file" else directory).chmod(0)
    says = "run this as the user that Synapse runs as"
    assert says in run("sweep", "-c", path).refusal
    directory.chmod(0o700)


@pytest.mark.parametrize("has_driver", [True, False])
def test_where_postgres_cannot_be_reached_that_is_told_in_one_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, has_driver: bool
) -> None:
    """And no password; without the driver, what to do."""
    if not has_driver:
        monkeypatch.setitem(sys.modules, "psycopg2", None)
    arguments = {"host": "/nowhere", "password": "sEcReT", "nonsense": 1}
    section = {"name": "psycopg2", "args": arguments}
    said = run("sweep", "-c", write(tmp_path, {"database": section})).refusal
    assert said.startswith("Cannot use the database: ")
    assert "sEcReT" not in said
    assert has_driver != ("run this with the Python that Synapse runs with" in said)


@pytest.mark.parametrize(
    "config",
    [
        {"database": SQLITE},
        {"databases": {"one": {**SQLITE, "data_stores": ["main"]}}},
        {"databases": {"a": {"data_stores": ["state"]}, "b": SQLITE}},
        {"database_path": "db"},
    ],
)
def test_the_section_is_that_of_the_main_store(config: Any) -> None:
    """Synapse may use several databases; that of the state has no mailboxes."""
    assert SQLITE["args"] == database_section(config)["args"]
    with pytest.raises(ConfigProblemError):
        database_section({"databases": {"a": {**SQLITE, "data_stores": ["state"]}}})


@pytest.mark.parametrize(
    ("problem", "failing", "tries"),
    [
        ("database is locked", TRIES - 1, TRIES),
        ("database is locked", TRIES, None),
        ("no such table", 1, None),
    ],
)
def test_what_others_were_in_the_way_of_is_tried_again(
    problem: str, failing: int, tries: int | None
) -> None:
    """But not for ever, and nothing else: it would fail again."""
    connection = Connection(sqlite3.connect(":memory:"), "sqlite3")
    left = [sqlite3.OperationalError(problem)] * failing
    tried: list[Connection] = []

    def statement(each: Connection) -> int:
        tried.append(each)
        if left:
            raise left.pop()
        return len(tried)

    if tries:
        assert tries == driven(connection.run("statement", statement))
    else:
        with pytest.raises(DatabaseError, match=f"statement: {problem}"):
            driven(connection.run("statement", statement))
        assert failing == len(tried)

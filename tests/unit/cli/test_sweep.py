"""The hand-run sweep: what it is told, what it connects to, what it says."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.explaining.mailboxes import TABLES
from synapse_withheld.cli.shared.homeserver.homeserver_yaml import (
    MODULE,
    ConfigProblemError,
)
from synapse_withheld.cli.shared.walking.database import (
    TRIES,
    Connection,
    DatabaseError,
    database_section,
)
from synapse_withheld.cli.shared.walking.walk import driven
from tests.harness.backlog import notice

SQLITE = {"name": "sqlite3", "args": {"database": "db"}}
SCOPED = [notice(session_id="a"), notice(session_id="b")]

both_commands = pytest.mark.parametrize("command", ["sweep", "survey"])


def assert_one_line(capsys: pytest.CaptureFixture[str], says: str) -> str:
    """See that there is one line on standard error and nothing else; return it."""
    out, err = capsys.readouterr()
    assert ("", 1) == (out, len(err.splitlines())), err
    assert re.search(says, err), err
    return err


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """Be a user whose rights end somewhere: root may read and write everything."""
    if os.geteuid():
        yield
        return
    os.chown(tmp_path, 65534, 65534)
    for each in (tmp_path, *list(tmp_path.parents)[:3]):
        each.chmod(each.stat().st_mode | 0o111)
    os.seteuid(65534)
    yield
    os.seteuid(0)


def write(directory: Path, config: Any, name: str = "homeserver.yaml") -> str:
    path = directory / name
    path.write_text(yaml.safe_dump(config))
    return str(path)


def make_database(directory: Path, texts: list[str], **module: Any) -> dict[str, Any]:
    """Fill one mailbox; return the configuration that names the database."""
    path = directory / "homeserver ?#.db"
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    rows = [("@r:hs", "R", number, text) for number, text in enumerate(texts, 1)]
    connection.executemany("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    section = {"name": "sqlite3", "args": {"database": str(path)}}
    return {"database": section, "modules": [{"module": MODULE, "config": module}]}


def file_of(config: dict[str, Any]) -> Path:
    return Path(config["database"]["args"]["database"])


@pytest.mark.parametrize("merges", [True, False])
def test_the_rule_is_that_of_the_modules_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], merges: bool
) -> None:
    """Scopes that the module keeps apart, the sweep keeps apart."""
    path = write(tmp_path, make_database(tmp_path, SCOPED, merge_scopes=merges))
    assert 0 == main(["sweep", "-c", path, "--json"])
    assert merges == json.loads(capsys.readouterr().out)["deleted"]


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ({"mode": "observe"}, "'mode' is observe.* --dry-run .* --enforce "),
        ({"rules": {"no_olm": False}}, "All 'rules' are false"),
        ({"mod": "x"}, "'mod' is no known key"),
    ],
)
def test_where_nothing_is_to_be_deleted_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: Any, says: str
) -> None:
    path = write(tmp_path, make_database(tmp_path, SCOPED, **module))
    assert 2 == main(["sweep", "-c", path])
    assert_one_line(capsys, says)


def test_files_that_do_not_name_the_module_are_not_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was not given may say `mode: observe`."""
    config = make_database(tmp_path, SCOPED)
    path = write(tmp_path, {"database": config["database"]})
    assert 2 == main(["sweep", "-c", path])
    assert_one_line(capsys, "do not name the module.* every file .* --enforce ")
    for choice, deleted in (("--dry-run", 0), ("--enforce", 1)):
        assert 0 == main(["sweep", "-c", path, "--json", choice])
        assert deleted == json.loads(capsys.readouterr().out)["deleted"]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "the files have no section 'database': give the file that has"),
        ({"database": []}, "'database' is list: make it a mapping"),
        ({"database": {"name": "mysql"}}, "'database: name' is 'mysql': name 'psyc"),
        ({"database": {**SQLITE, "args": "db"}}, "'database: args' is str: make it"),
        ({"database": SQLITE}, "Cannot .* the database: there is no database db"),
        (None, "Cannot read the configuration: .*nowhere.yaml"),
    ],
)
def test_a_wrong_configuration_is_answered_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: Any, says: str
) -> None:
    """On standard error, with an exit code of its own, and no file is made."""
    path = "nowhere.yaml" if config is None else write(tmp_path, config)
    assert 2 == main(["sweep", "-c", path])
    assert_one_line(capsys, says)
    assert not Path("db").exists()


@both_commands
@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no such table: "), (b"something else" * 1000, "file is not a database")],
)
def test_what_is_no_database_of_synapse_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    content: bytes,
    says: str,
) -> None:
    (tmp_path / "db").write_bytes(content)
    section = {"name": "sqlite3", "args": {"database": str(tmp_path / "db")}}
    assert 2 == main([command, "-c", write(tmp_path, {"database": section})])
    assert_one_line(capsys, f"not a database of Synapse, or not one .*: {says}")


@pytest.mark.usefixtures("nobody")
def test_what_may_not_be_written_is_not_swept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though all of it may be read: a dry run goes on."""
    config = make_database(tmp_path, [notice(), notice()])
    file_of(config).chmod(0o444)
    path = write(tmp_path, config)
    assert 0 == main(["sweep", "-c", path, "--dry-run"])
    capsys.readouterr()
    assert 2 == main(["sweep", "-c", path])
    says = "nothing may be deleted there: attempt to write a readonly database; run"
    assert_one_line(capsys, says)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("hidden", ["file", "directory"])
def test_a_file_that_may_not_be_read_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hidden: str
) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    config = make_database(directory, [notice()])
    path = write(tmp_path, config)
    (file_of(config) if hidden == "file" else directory).chmod(0)
    assert 2 == main(["sweep", "-c", path])
    assert_one_line(capsys, "run this as the user that Synapse runs as")
    directory.chmod(0o700)


@pytest.mark.parametrize("has_driver", [True, False])
def test_where_postgres_cannot_be_reached_that_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    has_driver: bool,
) -> None:
    """And no password; without the driver, what to do."""
    if not has_driver:
        monkeypatch.setitem(sys.modules, "psycopg2", None)
    arguments = {"host": "/nowhere", "password": "sEcReT", "nonsense": 1}
    section = {"name": "psycopg2", "args": arguments}
    assert 2 == main(["sweep", "-c", write(tmp_path, {"database": section})])
    line = assert_one_line(capsys, "Cannot .* the database")
    assert "sEcReT" not in line
    assert has_driver != ("run this with the Python that Synapse runs with" in line)


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

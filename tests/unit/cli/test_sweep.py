"""The hand-run sweep: what it is told, what it connects to, what it says."""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
import yaml

from synapse_withheld.cli.commands import survey, sweep
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
from synapse_withheld.cli.shared.walking.sweep_output import in_text
from synapse_withheld.sweep.walk import Counts, Progress
from tests.harness.databases.backlog import driven, notice
from tests.store.conftest import TABLES

SQLITE = {"name": "sqlite3", "args": {"database": "db"}}
SCOPED = [notice(session_id="a"), notice(session_id="b")]


def parse(*arguments: str, command: ModuleType = sweep) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)


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
    for each in (tmp_path, *tmp_path.parents[:3]):
        each.chmod(each.stat().st_mode | 0o111)
    os.seteuid(65534)
    yield
    os.seteuid(0)


def write(directory: Path, name: str, config: Any) -> str:
    """Write a file of configuration and return its path."""
    path = directory / name
    path.write_text(yaml.safe_dump(config))
    return str(path)


def make_database(directory: Path, texts: list[str]) -> dict[str, Any]:
    """Fill one mailbox; return the configuration that names the database."""
    path = directory / "homeserver ?#.db"
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    rows = [("@r:hs", "R", number, text) for number, text in enumerate(texts, 1)]
    connection.executemany("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return {"database": {"name": "sqlite3", "args": {"database": str(path)}}}


def test_a_later_file_names_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Synapse merges several `-c`."""
    first = write(tmp_path, "1.yaml", {"database": SQLITE})
    second = write(tmp_path, "2.yaml", make_database(tmp_path, [notice(), notice()]))
    assert 0 == sweep.run(parse("-c", first, "-c", second, "--json"))
    said = json.loads(capsys.readouterr().out)
    size = len(notice())
    assert {
        "dry_run": False,
        "rows": 2,
        "notices": 2,
        "redundant": 1,
        "left_alone": 0,
        "deleted": 1,
        "bytes": size,
        "rules": {
            "no_olm": {
                "notices": 2,
                "redundant": 1,
                "left_alone": 0,
                "deleted": 1,
                "bytes": size,
            }
        },
        "done": True,
    } == said


@pytest.mark.parametrize(("merge_scopes", "deleted"), [(True, 1), (False, 0)])
def test_the_rule_is_that_of_the_modules_configuration(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    merge_scopes: bool,
    deleted: int,
) -> None:
    """Scopes that the module keeps apart, the sweep keeps apart."""
    module = {"module": MODULE, "config": {"merge_scopes": merge_scopes}}
    config = {**make_database(tmp_path, SCOPED), "modules": [module]}
    path = write(tmp_path, "homeserver.yaml", config)
    assert 0 == sweep.run(parse("-c", path, "--json"))
    assert deleted == json.loads(capsys.readouterr().out)["deleted"]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "the files have no section 'database': give the file that has"),
        ({"database": []}, "'database' is list: make it a mapping"),
        ({"database": {"name": "mysql"}}, "'database: name' is 'mysql': name 'psyc"),
        ({"database": {**SQLITE, "args": "db"}}, "'database: args' is str: make it"),
        ({"database": SQLITE}, "Cannot use the database: there is no database db"),
        (
            {"database": SQLITE, "modules": [{"module": MODULE, "config": {"x": 1}}]},
            "'x' is no known key",
        ),
    ],
)
def test_a_wrong_configuration_is_answered_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: Any, says: str
) -> None:
    """On standard error, with an exit code of its own, and no file is made."""
    path = write(tmp_path, "homeserver.yaml", config)
    assert 2 == sweep.run(parse("-c", path))
    said = capsys.readouterr()
    assert says in said.err
    assert "" == said.out
    assert not Path("db").exists()


def test_a_missing_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error."""
    assert 2 == sweep.run(parse("-c", str(tmp_path / "nowhere.yaml")))
    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("command", [sweep, survey])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no such table: "),
        (b"something else" * 1000, "file is not a database"),
    ],
)
def test_what_is_no_database_of_synapse_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: ModuleType,
    content: bytes,
    says: str,
) -> None:
    """Before anything is looked at."""
    (tmp_path / "db").write_bytes(content)
    section = {"name": "sqlite3", "args": {"database": str(tmp_path / "db")}}
    path = write(tmp_path, "homeserver.yaml", {"database": section})
    assert 2 == command.run(parse("-c", path, command=command))
    assert_one_line(capsys, f"not a database of Synapse, or not one .*: {says}")


@pytest.mark.usefixtures("nobody")
def test_what_may_not_be_written_is_not_swept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though all of it may be read: a dry run goes on."""
    config = make_database(tmp_path, [notice(), notice()])
    Path(config["database"]["args"]["database"]).chmod(0o444)
    path = write(tmp_path, "homeserver.yaml", config)
    assert 0 == sweep.run(parse("-c", path, "--dry-run"))
    capsys.readouterr()
    assert 2 == sweep.run(parse("-c", path))
    says = "nothing may be deleted there: attempt to write a readonly database; run"
    assert_one_line(capsys, says)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("command", [sweep, survey])
@pytest.mark.parametrize("hidden", ["file", "directory"])
def test_a_file_that_may_not_be_read_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: ModuleType,
    hidden: str,
) -> None:
    """With what to do about it."""
    directory = tmp_path / "data"
    directory.mkdir()
    config = make_database(directory, [notice()])
    path = write(tmp_path, "homeserver.yaml", config)
    database = Path(config["database"]["args"]["database"])
    (database if hidden == "file" else directory).chmod(0)
    assert 2 == command.run(parse("-c", path, command=command))
    assert_one_line(capsys, "run this as the user that Synapse runs as")
    directory.chmod(0o700)


@pytest.mark.parametrize("command", [sweep, survey])
def test_without_the_driver_what_to_do_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: ModuleType,
) -> None:
    """Outside of Synapse's environment there is none."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    path = write(tmp_path, "homeserver.yaml", {"database": {"name": "psycopg2"}})
    assert 2 == command.run(parse("-c", path, command=command))
    assert_one_line(capsys, "run this with the Python that Synapse runs with")


@pytest.mark.parametrize("command", [sweep, survey])
def test_a_password_of_the_database_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: ModuleType
) -> None:
    """Whatever the driver says about its arguments."""
    arguments = {"host": "/nowhere", "password": "sEcReT", "nonsense": 1}
    section = {"name": "psycopg2", "args": arguments}
    path = write(tmp_path, "homeserver.yaml", {"database": section})
    assert 2 == command.run(parse("-c", path, command=command))
    assert "sEcReT" not in assert_one_line(capsys, "Cannot .* the database")


@pytest.mark.parametrize(
    ("more", "deleted"), [((), None), (("--dry-run",), 0), (("--enforce",), 1)]
)
def test_in_observe_mode_nothing_goes_unless_it_is_asked_for(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    deleted: int | None,
) -> None:
    """The server's configuration says so."""
    module = {"module": MODULE, "config": {"mode": "observe"}}
    config = {**make_database(tmp_path, [notice(), notice()]), "modules": [module]}
    path = write(tmp_path, "homeserver.yaml", config)
    code = sweep.run(parse("-c", path, "--json", *more))
    if deleted is None:
        assert 2 == code
        assert_one_line(capsys, "'mode' is observe.* --dry-run .* --enforce ")
    else:
        assert 0 == code
        assert deleted == json.loads(capsys.readouterr().out)["deleted"]


def test_without_a_rule_there_is_nothing_to_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would look at every row for nothing."""
    module = {"module": MODULE, "config": {"rules": {"no_olm": False}}}
    config = {**make_database(tmp_path, [notice()]), "modules": [module]}
    assert 2 == sweep.run(parse("-c", write(tmp_path, "homeserver.yaml", config)))
    assert_one_line(capsys, "All 'rules' are false")


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
    """Synapse may use several databases."""
    assert SQLITE["args"] == database_section(config)["args"]


def test_a_store_elsewhere_is_no_section() -> None:
    """That of the rooms' state has no mailboxes."""
    with pytest.raises(ConfigProblemError):
        database_section({"databases": {"a": {**SQLITE, "data_stores": ["state"]}}})


@pytest.mark.parametrize(
    "arguments",
    [
        ("--batch-size", "0"),
        ("--batch-size", "10001"),
        ("--batch-size", "x"),
        ("--batch-size", "9" * 5000),
        ("--pause", "-1"),
        ("--pause", "0.2"),
        ("--pause", "100"),
        ("--pause", "999"),
        ("--pause", "00"),
        ("--pause", "x"),
    ],
)
def test_a_wrong_argument_is_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With what would be right."""
    with pytest.raises(SystemExit):
        parse("-c", "x", f"{arguments[0]}={arguments[1]}")
    name = arguments[0]
    assert re.search(
        rf"argument {name}: (.* is not 1 to 10000|must be a duration such as 1s)",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("1000", 1), ("1s", 1), ("2m", 120)]
)
def test_a_pause_is_written_as_every_duration(text: str, seconds: float) -> None:
    """And none at all as 0, whatever its unit."""
    assert seconds == parse("-c", "x", "--pause", text).pause


@pytest.mark.parametrize(("failing", "right"), [(TRIES - 1, True), (TRIES, False)])
def test_what_others_were_in_the_way_of_is_tried_again(
    failing: int,
    right: bool,
) -> None:
    """But not for ever."""
    connection = Connection(sqlite3.connect(":memory:"), "sqlite3")
    left = [sqlite3.OperationalError("database is locked")] * failing

    def statement(_: Connection) -> str:
        if left:
            raise left.pop()
        return "answer"

    if right:
        assert "answer" == driven(connection.run("statement", statement))
    else:
        with pytest.raises(DatabaseError, match="statement: database is locked"):
            driven(connection.run("statement", statement))


def test_any_other_failure_is_one_at_once() -> None:
    """It would fail again."""
    connection = Connection(sqlite3.connect(":memory:"), "sqlite3")
    tried: list[Connection] = []

    def statement(each: Connection) -> None:
        tried.append(each)
        raise sqlite3.OperationalError("no such table")

    with pytest.raises(DatabaseError):
        driven(connection.run("statement", statement))
    assert 1 == len(tried)


def test_the_summary_says_what_a_dry_run_would_delete() -> None:
    """That is not what devices that are being deleted have."""
    rules = {"no_olm": Counts(5, 5, 2, bytes=234), "withheld": Counts(3, 2, bytes=1000)}
    progress = Progress(rows=9000, rules=rules)
    assert in_text(progress, dry_run=True).splitlines() == [
        "rows looked at                       9,000",
        "notices                                  8",
        "  of rule no_olm                         5",
        "  of rule withheld                       3",
        "redundant                                7",
        "  of rule no_olm                         5",
        "  of rule withheld                       2",
        "left: device being deleted               2",
        "would be deleted                         5",
        "bytes that would go                  1,234",
        "stopped before the end",
    ]

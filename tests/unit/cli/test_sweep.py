"""The hand-run sweep: what it is told, what it connects to, what it says."""

from __future__ import annotations

import argparse
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from synapse_withheld.cli.commands import sweep
from synapse_withheld.cli.shared.database import (
    TRIES,
    Connection,
    DatabaseError,
    database_section,
)
from synapse_withheld.cli.shared.homeserver_yaml import MODULE, ConfigProblemError
from synapse_withheld.cli.shared.place import Place, UnreadablePlaceError
from synapse_withheld.cli.shared.sweep_output import Bar, drawn, in_text
from synapse_withheld.sweep.walk import Counts, Progress
from tests.harness.databases.backlog import driven, notice
from tests.store.conftest import TABLES

SQLITE = {"name": "sqlite3", "args": {"database": "db"}}
SCOPED = [notice(session_id="a"), notice(session_id="b")]


def parse(*arguments: str) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = argparse.ArgumentParser()
    sweep.add_arguments(parser)
    return parser.parse_args(arguments)


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
        ({"database": SQLITE}, "Cannot reach the database: there is no database db"),
        (
            {"database": SQLITE, "modules": [{"module": MODULE, "config": {"x": 1}}]},
            "unknown key 'x'",
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


def test_a_database_without_mailboxes_fails_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not Synapse's."""
    sqlite3.connect(tmp_path / "db").execute("CREATE TABLE t (a)")
    section = {"name": "sqlite3", "args": {"database": str(tmp_path / "db")}}
    path = write(tmp_path, "homeserver.yaml", {"database": section})
    assert 1 == sweep.run(parse("-c", path))
    said = capsys.readouterr()
    assert "no such table: device_inbox" in said.err
    assert "stopped before the end" in said.out


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
        ("--pause", "-1"),
        ("--pause", "nan"),
        ("--pause", "inf"),
        ("--pause", "x"),
    ],
)
def test_a_wrong_argument_is_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With what would be right."""
    with pytest.raises(SystemExit):
        parse("-c", "x", *arguments)
    assert f"'{arguments[1]}' is not " in capsys.readouterr().err


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


def test_a_place_is_noted_and_read_again(tmp_path: Path) -> None:
    """And gone at the end."""
    file = tmp_path / "place"
    place = Place.read(file, dry_run=False)
    assert place.mailbox is None
    place.note(Progress(mailbox=("@ü:hs", "D")))
    assert ("@ü:hs", "D") == Place.read(file, dry_run=False).mailbox
    place.note(Progress(mailbox=("@a:hs", "D"), done=True))
    assert [] == list(tmp_path.iterdir())


def test_a_sweep_does_not_begin_where_a_dry_run_was(tmp_path: Path) -> None:
    """What that passed over is still there."""
    file = tmp_path / "place"
    Place.read(file, dry_run=True).note(Progress(mailbox=("@u:hs", "D")))
    with pytest.raises(UnreadablePlaceError, match="is of a sweep with --dry-run"):
        Place.read(file, dry_run=False)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff"])
def test_a_file_with_something_else_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is left as it is."""
    file = tmp_path / "place"
    file.write_text(text, encoding="latin-1")
    config = write(tmp_path, "homeserver.yaml", make_database(tmp_path, []))
    assert 2 == sweep.run(parse("-c", config, "--place", str(file)))
    assert "does not say where a sweep was" in capsys.readouterr().err
    assert text == file.read_text(encoding="latin-1")


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

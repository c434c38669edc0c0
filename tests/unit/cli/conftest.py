"""The command line in this process, and databases for it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import pytest
import yaml

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.explaining.mailboxes import TABLES
from synapse_withheld.cli.homeserver.configuration import MODULE
from tests.harness.backlog import notice, other

TEXTS = [notice(session_id="a"), other(), notice(session_id="b")]


class Answer(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """Return what is said in one line, where nothing was done."""
        assert (2, "", 1) == (self.code, self.out, len(self.err.splitlines())), self.err
        return self.err

    def told(self, *names: str) -> list[Any]:
        """Return what lines of JSON say under some names."""
        found = map(json.loads, self.out.splitlines())
        told = [tuple(each[name] for name in names) for each in found]
        return [each[0] for each in told] if len(names) == 1 else told


Run = Callable[..., Answer]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command; processes that it starts are heard, too.

    Among the arguments, configuration and lists of lines stand for files of them.
    """

    def command(*arguments: str | dict[str, Any] | list[Any]) -> Answer:
        given: list[str] = []
        for each in arguments:
            if isinstance(each, dict):
                given += ["-c", write(tmp_path, each)]
            elif isinstance(each, list):
                lines = (x if isinstance(x, str) else json.dumps(x) for x in each)
                given.append(write(tmp_path, "\n".join(lines), "lines.jsonl"))
            else:
                given.append(each)
        try:
            code = main(given)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Answer(code, *capfd.readouterr())

    return command


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
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return str(path)


def with_module(config: Any) -> dict[str, Any]:
    return {"modules": [{"module": MODULE, "config": config}]}


def make_database(directory: Path) -> dict[str, Any]:
    """Fill a mailbox each of two users; return the configuration that names it."""
    path = directory / "homeserver ?#.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)
        for device in (("@a:hs", "A"), ("@r:hs", "R")):
            connection.execute("INSERT INTO devices VALUES (?, ?, 0)", device)
            rows = [(*device, *each) for each in enumerate(TEXTS)]
            connection.executemany("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", rows)
    section = {"name": "sqlite3", "args": {"database": str(path)}}
    return {"database": section, **with_module({})}


def file_of(config: dict[str, Any]) -> Path:
    return Path(config["database"]["args"]["database"])

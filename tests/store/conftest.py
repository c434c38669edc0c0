"""Synapse's tables on both databases, and what the tests put there."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import Any, Iterator, Sequence

import pytest

from synapse_withheld.cli.explaining.mailboxes import TABLES
from synapse_withheld.cli.walking import database as walking
from synapse_withheld.database.sql import marks
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import MailboxKey
from tests.harness.messages import WITHHELD
from tests.model.tables import compact

# Of this server, whose messages are in mailboxes.
R: MailboxKey = ("@r:hs", "R")
Q: MailboxKey = ("@q:hs", "Q")
EMPTY: MailboxKey = ("@r:hs", "EMPTY")
GONE: MailboxKey = ("@r:hs", "GONE")
HIDDEN: MailboxKey = ("@r:hs", "HIDDEN")
# A device of the same name as another user's.
NAMESAKE: MailboxKey = ("@other:hs", "R")
# Of other servers, for which there are outboxes.
REMOTE: MailboxKey = ("@r:there", "R")
REMOTE_2: MailboxKey = ("@r:there", "R2")
ELSEWHERE: MailboxKey = ("@q:elsewhere", "Q")


class Connection(walking.Connection):
    """A connection that takes `?`, commits by itself, and knows what it ran.

    Attributes:
        raw: The driver's own.
        section: Synapse's `database:` section.
        executed: Each statement with its parameters.
    """

    def __init__(self, raw: Any, section: dict[str, Any]) -> None:
        super().__init__(raw, section["name"])
        self.raw = raw
        self.section = section
        self.executed: list[tuple[str, Sequence[Any]]] = []

    @property
    def is_sqlite(self) -> bool:
        return self.driver == "sqlite3"

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.executed.append((sql, parameters))
        super().execute(sql, parameters)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        self.execute(sql, parameters)
        return self.fetchall()

    def add(self, table: str, *rows: Sequence[Any]) -> None:
        for row in rows:
            self.execute(f"INSERT INTO {table} VALUES ({marks(len(row))})", row)  # noqa: S608

    def add_device(self, *keys: MailboxKey) -> None:
        self.add("devices", *((*key, key == HIDDEN) for key in keys))

    def put(self, key: MailboxKey, *stream_ids: int, text: str | None = None) -> None:
        """Queue notices for a device, or another text, in its mailbox or outbox."""
        text = notice(key) if text is None else text
        for stream_id in stream_ids:
            if is_remote(key):
                row = (server_of(key[0]), stream_id, 0, text, None)
                self.add("device_federation_outbox", row)
            else:
                self.add("device_inbox", (*key, stream_id, text))

    def left(self, key: MailboxKey) -> list[int]:
        """Return the stream IDs of a mailbox or an outbox."""
        sql = "SELECT stream_id FROM device_inbox WHERE user_id = ? AND device_id = ?"
        whose: tuple[str, ...] = key
        if is_remote(key):
            sql = "SELECT stream_id FROM device_federation_outbox WHERE destination = ?"
            whose = (server_of(key[0]),)
        return sorted(stream_id for (stream_id,) in self.rows(sql, *whose))


def is_remote(key: MailboxKey) -> bool:
    return server_of(key[0]) != "hs"


def notice(key: MailboxKey, **more: Any) -> str:
    """Return a notice as it is written for a device: as a message, or as an EDU."""
    content = {"code": "m.no_olm", **more}
    said = (
        {"messages": {key[0]: {key[1]: content}}}
        if is_remote(key)
        else {"content": content}
    )
    return compact({"type": WITHHELD, "sender": "@s:here", **said})


def opened(section: dict[str, Any]) -> Any:
    """Open one more connection to a database."""
    if section["name"] != "sqlite3":
        return walking._postgres(section["args"], writes=True)._connection
    path = section["args"]["database"]
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Nothing has to survive a crash.
    raw.execute("PRAGMA synchronous = OFF")
    return raw


@contextmanager
def connected(kind: str, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Create the tables in a new database, `sqlite` or `postgres`."""
    if kind == "sqlite":
        directory = request.getfixturevalue("tmp_path_factory").mktemp("sqlite")
        path = str(directory / "homeserver.db")
        section: dict[str, Any] = {"name": "sqlite3", "args": {"database": path}}
    else:
        section = request.getfixturevalue("postgres").database()
    with closing(opened(section)) as raw:
        create = raw.executescript if kind == "sqlite" else raw.cursor().execute
        create(TABLES)
        yield Connection(raw, section)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Create the tables on each kind of database."""
    with connected(request.param, request) as connection:
        yield connection

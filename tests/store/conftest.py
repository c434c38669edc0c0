"""Synapse's tables on both databases, as far as the statements touch them."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import pytest

from synapse_withheld.cli.shared.explaining.mailboxes import TABLES

if TYPE_CHECKING:
    from tests.harness.servers.postgres import PostgresServer


class Connection:
    """A connection that takes `?` and commits by itself, as Synapse gives them."""

    def __init__(self, connection: Any, name: str) -> None:
        self.name = name
        self.driver = "sqlite3" if name == "sqlite" else "psycopg2"
        self.executed: list[tuple[str, Sequence[Any]]] = []
        self.rowcount = -1
        self._cursor = connection.cursor()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement."""
        self.executed.append((sql, parameters))
        self._cursor.execute(self._own(sql), tuple(parameters))
        self.rowcount = self._cursor.rowcount

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        self.execute(sql, parameters)
        return self.fetchall()

    def _own(self, sql: str) -> str:
        return sql if self.name == "sqlite" else sql.replace("?", "%s")


@contextmanager
def connected(kind: str, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Create the tables in a new database, `sqlite` or `postgres`."""
    with stored(kind, request) as (database, _):
        yield database


@contextmanager
def stored(
    kind: str, request: pytest.FixtureRequest, directory: Path | None = None
) -> Iterator[tuple[Connection, dict[str, Any]]]:
    """Do the same, SQLite in a directory; tell Synapse's `database:` section too."""
    connection: Any
    if kind == "sqlite":
        path = str(directory / "homeserver.db") if directory else ":memory:"
        section: dict[str, Any] = {"name": "sqlite3", "args": {"database": path}}
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(TABLES)
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        import psycopg2  # noqa: PLC0415 without it the line above skips

        section = server.database()
        name = dict(section["args"])["dbname"]
        connection = psycopg2.connect(**server.arguments(name))
        connection.autocommit = True
        connection.cursor().execute(TABLES)
    yield Connection(connection, kind), section
    connection.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Create the tables on each kind of database."""
    with connected(request.param, request) as connection:
        yield connection

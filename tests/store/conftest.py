"""Synapse's tables on both databases, as far as the statements touch them."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import pytest

if TYPE_CHECKING:
    from tests.harness.databases.postgres import PostgresServer

# Columns and indexes as in Synapse's schema 72 and its deltas since.
TABLES = """
    CREATE TABLE devices (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, hidden BOOLEAN DEFAULT FALSE,
        UNIQUE (user_id, device_id)
    );
    CREATE TABLE dehydrated_devices (
        user_id TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL
    );
    CREATE TABLE device_lists_stream (
        stream_id BIGINT NOT NULL, user_id TEXT NOT NULL, device_id TEXT NOT NULL
    );
    CREATE INDEX device_lists_stream_user_id
        ON device_lists_stream (user_id, device_id);
    CREATE TABLE users (name TEXT, UNIQUE (name));
    CREATE TABLE device_lists_remote_cache (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, content TEXT NOT NULL
    );
    CREATE UNIQUE INDEX device_lists_remote_cache_unique_id
        ON device_lists_remote_cache (user_id, device_id);
    CREATE TABLE device_lists_remote_extremeties (
        user_id TEXT NOT NULL, stream_id TEXT NOT NULL
    );
    CREATE UNIQUE INDEX device_lists_remote_extremeties_unique_idx
        ON device_lists_remote_extremeties (user_id);
    CREATE TABLE device_lists_remote_resync (
        user_id TEXT NOT NULL, added_ts BIGINT NOT NULL
    );
    CREATE UNIQUE INDEX device_lists_remote_resync_idx
        ON device_lists_remote_resync (user_id);
    CREATE TABLE device_inbox (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, stream_id BIGINT NOT NULL,
        message_json TEXT NOT NULL
    );
    CREATE INDEX device_inbox_user_stream_id
        ON device_inbox (user_id, device_id, stream_id);
    CREATE INDEX device_inbox_stream_id_user_id ON device_inbox (stream_id, user_id);
    CREATE TABLE device_federation_outbox (
        destination TEXT NOT NULL, stream_id BIGINT NOT NULL,
        queued_ts BIGINT NOT NULL, messages_json TEXT NOT NULL, instance_name TEXT
    );
    CREATE INDEX device_federation_outbox_destination_id
        ON device_federation_outbox (destination, stream_id);
    CREATE INDEX device_federation_outbox_id ON device_federation_outbox (stream_id);
    CREATE TABLE scheduled_tasks (
        id TEXT PRIMARY KEY, action TEXT NOT NULL, status TEXT NOT NULL,
        resource_id TEXT, params TEXT
    );
    CREATE INDEX scheduled_tasks_status ON scheduled_tasks (status);
"""


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
    connection: Any
    if kind == "sqlite":
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.executescript(TABLES)
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        import psycopg2  # noqa: PLC0415 without it the line above skips

        name = dict(server.database()["args"])["dbname"]
        connection = psycopg2.connect(**server.arguments(name))
        connection.autocommit = True
        connection.cursor().execute(TABLES)
    yield Connection(connection, kind)
    connection.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Create the tables on each kind of database."""
    with connected(request.param, request) as connection:
        yield connection

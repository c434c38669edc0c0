"""Connect to Synapse's database without Synapse.

Where it refuses, that is raised as a `DatabaseError`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import quote

from synapse_withheld.cli.arguments import CannotSayError, ProblemError
from synapse_withheld.database.sql import SQLITE

POSTGRES = "psycopg2"

# How often a statement is tried that others were in the way of.
TRIES = 5

# How long SQLite waits for others to finish writing, in seconds.
_PATIENCE_S = 30.0

# What the statements of the sweep and of the survey read.
_TABLES = (
    *("device_inbox", "device_federation_outbox"),
    *("devices", "device_lists_stream", "scheduled_tasks", "users"),
)


class DatabaseError(CannotSayError):
    """The database cannot be reached, or refused a statement."""


class Connection:
    """A connection that takes `?` and commits each statement by itself.

    Attributes:
        driver: As Synapse names it: `sqlite3` or `psycopg2`.
        name: What tells the database from others.
    """

    def __init__(self, connection: Any, driver: str, name: str = "") -> None:
        self.driver = driver
        self.name = name
        self.rowcount = -1
        self._connection = connection
        self._cursor = connection.cursor()

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        own = sql if self.driver == SQLITE else sql.replace("?", "%s")
        self._cursor.execute(own, tuple(parameters))
        self.rowcount = self._cursor.rowcount

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    async def run(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement, and again where others were in the way.

        Nobody has to wait: it is async as whoever awaits it needs.
        """
        tried = 0
        while True:
            tried += 1
            try:
                return function(self, *arguments)
            except Exception as error:
                if tried == TRIES or not _in_the_way(error):
                    problem = f"Cannot use the database: {description}"
                    raise DatabaseError(f"{problem}: {_first_line(error)}") from error

    def close(self) -> None:
        self._connection.close()


def connect(config: Mapping[str, Any], *, writes: bool = False) -> Connection:
    """Connect to the database that is named in what Synapse's main process reads.

    Unless rows are to be deleted, the connection refuses that.
    """
    section = database_section(config)
    make = {SQLITE: _sqlite, POSTGRES: _postgres}.get(section.get("name", ""))
    arguments = section.get("args") or {}
    if make is None or not isinstance(arguments, Mapping):
        raise ProblemError(
            f"'database' does not name '{POSTGRES}' or '{SQLITE}' with its 'args'",
            "correct it: Synapse does not start like this",
        )
    try:
        connection = make(arguments, writes=writes)
        # Says nothing about rows, and everything about the tables.
        for table in _TABLES:
            connection.execute(f"SELECT 1 FROM {table} WHERE 1 = 0", ())  # noqa: S608
        if writes:
            # Takes the lock for writing, and gives it back.
            connection.execute("DELETE FROM device_inbox WHERE 1 = 0", ())
    except ImportError as error:
        raise DatabaseError(
            f"PostgreSQL needs psycopg2 ({error}); run this with the Python that "
            "Synapse runs with"
        ) from error
    except Exception as error:
        what = "written" if writes else "read"
        raise DatabaseError(
            f"The database cannot be {what}, or is not one of Synapse: "
            f"{_first_line(error)}; run this as the user that Synapse runs as"
        ) from error
    return connection


def database_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section about the database that holds the mailboxes."""
    several = config.get("databases")
    sections = [config.get("database")]
    if isinstance(several, Mapping):
        sections += several.values()
    for section in sections:
        if isinstance(section, Mapping) and "main" in (
            section.get("data_stores") or ["main"]
        ):
            return section
    raise ProblemError(
        "the files have no section 'database'",
        "give the file that has the section 'database' of your homeserver",
    )


def _sqlite(arguments: Mapping[str, Any], *, writes: bool) -> Connection:
    path = Path(str(arguments.get("database", "")))
    # Else SQLite makes an empty one.
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; it is looked for from here")
    connection = _opened(path, "mode=rw" if writes else "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(f"{path.name}-wal").exists():
            raise
        # Nobody uses it, and what SQLite would make beside it may not be made.
        connection = _opened(path, "mode=ro&immutable=1")
    # A file that is moved away is another.
    status = path.stat()
    name = f"{path.resolve()}, file {status.st_dev}:{status.st_ino}"
    return Connection(connection, SQLITE, name)


def _opened(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?{how}",
        uri=True,
        timeout=_PATIENCE_S,
        isolation_level=None,
    )


def _postgres(arguments: Mapping[str, Any], *, writes: bool) -> Connection:
    import psycopg2  # noqa: PLC0415 not needed for SQLite

    # Those are of Synapse's pool of connections.
    own = {key: arguments[key] for key in arguments if not key.startswith("cp_")}
    connection = psycopg2.connect(**own)
    # What is lost in a crash is deleted again by the next sweep.
    connection.set_session(readonly=None if writes else True, autocommit=True)
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit TO OFF")
    # A number of its own, so that one that was made anew is another.
    cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
    ((number,),) = cursor.fetchall()
    where = connection.info
    name = f"{where.dbname} on {where.host}:{where.port}, number {number}"
    return Connection(connection, POSTGRES, name)


def _first_line(error: BaseException) -> str:
    # The others repeat the statement.
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _in_the_way(error: Exception) -> bool:
    """Say whether it was others: a deadlock, or a lock that SQLite waited for."""
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error)
    return getattr(error, "pgcode", None) == "40P01"

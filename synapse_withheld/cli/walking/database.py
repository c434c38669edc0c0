"""Connect to Synapse's database without Synapse."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import quote

from synapse_withheld.cli.homeserver.configuration import ConfigProblemError
from synapse_withheld.database.sql import SQLITE

POSTGRES = "psycopg2"

# How often a statement is tried that others were in the way of.
TRIES = 5

# How long SQLite waits for others to finish writing, in seconds.
_PATIENCE_S = 30.0

# What the statements of the sweep and of the survey read.
_TABLES = (
    "device_inbox",
    "device_federation_outbox",
    "devices",
    "device_lists_stream",
    "scheduled_tasks",
    "users",
)
_WHO = "run this as the user that Synapse runs as"


class DatabaseError(Exception):
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
        """Run a function of one statement, as whoever awaits it needs."""
        return self.try_statement(description, function, *arguments)

    def try_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement, and again where others were in the way.

        Raises:
            DatabaseError: It fails, or fails each time.
        """
        for left in reversed(range(TRIES)):
            try:
                return function(self, *arguments)
            except Exception as error:  # noqa: PERF203 a few times at most
                if not left or not _in_the_way(error):
                    problem = f"{description}: {_first_line(error)}"
                    raise DatabaseError(problem) from error
        raise AssertionError

    def close(self) -> None:
        self._connection.close()


def connect(config: Mapping[str, Any], *, writes: bool = False) -> Connection:
    """Connect to the database that is named in what Synapse's main process reads.

    Unless rows are to be deleted, the connection refuses that.

    Raises:
        ConfigProblemError: The section is missing or not one that Synapse takes.
        DatabaseError: The database cannot be reached, or is not what is needed.
    """
    try:
        connection = _connected(config, writes=writes)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{_first_line(error)}; {_WHO}") from error
    try:
        _look_at(connection, writes=writes)
    except Exception:
        connection.close()
        raise
    return connection


def _connected(config: Mapping[str, Any], *, writes: bool) -> Connection:
    section = database_section(config)
    driver, arguments = section.get("name"), section.get("args") or {}
    if driver not in {SQLITE, POSTGRES}:
        raise ConfigProblemError(
            f"'database: name' is {driver!r}", f"name '{POSTGRES}' or '{SQLITE}'"
        )
    if not isinstance(arguments, Mapping):
        raise ConfigProblemError(
            f"'database: args' is {type(arguments).__name__}", "make it a mapping"
        )
    make = _sqlite if driver == SQLITE else _postgres
    return make(arguments, writes=writes)


def _look_at(connection: Connection, *, writes: bool) -> None:
    """See that what is read is there, and may be read; in the end, that rows may go."""
    # Says nothing about rows, and everything about the tables.
    looks = [f"SELECT 1 FROM {table} WHERE 1 = 0" for table in _TABLES]  # noqa: S608
    try:
        connection.execute(" UNION ALL ".join(looks), ())
    except Exception as error:
        raise DatabaseError(
            "it is not a database of Synapse, or not one that may be read: "
            f"{_first_line(error)}"
        ) from error
    if not writes:
        return
    try:
        # Takes the lock for writing, and gives it back.
        connection.execute("DELETE FROM device_inbox WHERE 1 = 0", ())
    except Exception as error:
        raise DatabaseError(
            f"nothing may be deleted there: {_first_line(error)}; {_WHO}"
        ) from error


def database_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section about the database that holds the mailboxes.

    Raises:
        ConfigProblemError: There is none.
    """
    found = config.get("database")
    if found is None and isinstance(config.get("databases"), Mapping):
        found = next(filter(_holds_mailboxes, config["databases"].values()), None)
    path = config.get("database_path")
    if found is None and isinstance(path, str):
        found = {"name": SQLITE, "args": {"database": path}}
    if found is None:
        raise ConfigProblemError(
            "the files have no section 'database'",
            "give the file that has the section 'database' of your homeserver",
        )
    if not isinstance(found, Mapping):
        raise ConfigProblemError(
            f"'database' is {type(found).__name__}", "make it a mapping"
        )
    return found


def _holds_mailboxes(section: object) -> bool:
    if not isinstance(section, Mapping):
        return False
    return "main" in (section.get("data_stores") or ["main"])


def _sqlite(arguments: Mapping[str, Any], *, writes: bool) -> Connection:
    path = Path(str(arguments.get("database", "")))
    # Else SQLite makes an empty one.
    if not path.is_file():
        raise DatabaseError(f"there is no database {path}; it is looked for from here")
    connection = _opened(path, "mode=rw" if writes else "mode=ro")
    log = path.with_name(path.name + "-wal")
    if not writes and not _answers(connection) and not log.exists():
        # Nobody uses it, and what SQLite would make beside it may not be made.
        connection.close()
        connection = _opened(path, "mode=ro&immutable=1")
    # A file is a database until somebody looks; and one that is moved away is another.
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


def _answers(connection: sqlite3.Connection) -> bool:
    # Of what is no database, whoever looks at it will be told.
    with suppress(sqlite3.DatabaseError):
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError:
            return False
    return True


def _postgres(arguments: Mapping[str, Any], *, writes: bool) -> Connection:
    try:
        import psycopg2  # noqa: PLC0415 not needed for SQLite
    except ImportError as error:
        raise DatabaseError(
            f"PostgreSQL needs psycopg2 ({error}); run this with the Python that "
            "Synapse runs with"
        ) from error
    # Those are of Synapse's pool of connections.
    own = {key: arguments[key] for key in arguments if not key.startswith("cp_")}
    try:
        connection = psycopg2.connect(**own)
        # What is lost in a crash is deleted again by the next sweep.
        connection.set_session(readonly=None if writes else True, autocommit=True)
        connection.cursor().execute("SET synchronous_commit TO OFF")
    except (psycopg2.Error, TypeError, ValueError) as error:
        raise DatabaseError(_first_line(error)) from error
    return Connection(connection, POSTGRES, _name_of(connection))


def _name_of(connection: Any) -> str:
    """Return what tells a database of PostgreSQL from others, without a password."""
    where = connection.get_dsn_parameters()
    cursor = connection.cursor()
    # A number of its own, so that one that was made anew is another.
    cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
    ((number,),) = cursor.fetchall()
    host = where.get("host") or "local"
    return f"{where['dbname']} on {host}:{where.get('port', '')}, number {number}"


def _first_line(error: BaseException) -> str:
    """Return the first line of an error: the others repeat the statement."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _in_the_way(error: Exception) -> bool:
    """Say whether it was others: a deadlock, or a lock that SQLite waited for."""
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error)
    return getattr(error, "pgcode", None) == "40P01"

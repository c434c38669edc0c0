"""Connect to Synapse's database without Synapse."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import quote

from synapse_withheld.cli.shared.homeserver_yaml import ConfigProblemError
from synapse_withheld.database.sql import SQLITE

POSTGRES = "psycopg2"

# How often a statement is tried that others were in the way of.
TRIES = 5

# How long SQLite waits for others to finish writing, in seconds.
_PATIENCE_S = 30.0

_STORE = "main"
_DO = "give the file that has the section 'database' of your homeserver"


class DatabaseError(Exception):
    """The database cannot be reached, or refused a statement."""


class Connection:
    """A connection that takes `?` and commits each statement by itself."""

    def __init__(self, connection: Any, driver: str) -> None:
        """Keep the connection.

        Args:
            connection: One that commits by itself.
            driver: As Synapse names it: `sqlite3` or `psycopg2`.
        """
        self.driver = driver
        self.rowcount = -1
        self._connection = connection
        self._cursor = connection.cursor()

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        """Run a statement."""
        own = sql if self.driver == SQLITE else sql.replace("?", "%s")
        self._cursor.execute(own, tuple(parameters))
        self.rowcount = self._cursor.rowcount

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    async def run(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement, and again where others were in the way.

        Raises:
            DatabaseError: It fails, or fails each time.
        """
        tries = 1
        while True:
            try:
                return function(self, *arguments)
            except Exception as error:
                if not _in_the_way(error) or tries == TRIES:
                    raise DatabaseError(f"{description}: {error}") from error
            tries += 1

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def connect(config: Mapping[str, Any]) -> Connection:
    """Connect to the database that Synapse's configuration names.

    Args:
        config: What the main process reads.

    Raises:
        ConfigProblemError: The section is missing or not one that Synapse takes.
        DatabaseError: The database cannot be reached.
    """
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
    return _sqlite(arguments) if driver == SQLITE else _postgres(arguments)


def database_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section about the database that holds the mailboxes.

    Raises:
        ConfigProblemError: There is none.
    """
    found = config.get("database")
    if found is None and isinstance(config.get("databases"), Mapping):
        sections = [each for each in config["databases"].values() if _holds_main(each)]
        found = sections[0] if sections else None
    path = config.get("database_path")
    if found is None and isinstance(path, str):
        found = {"name": SQLITE, "args": {"database": path}}
    if found is None:
        raise ConfigProblemError("the files have no section 'database'", _DO)
    if not isinstance(found, Mapping):
        raise ConfigProblemError(
            f"'database' is {type(found).__name__}", "make it a mapping"
        )
    return found


def _holds_main(section: object) -> bool:
    if not isinstance(section, Mapping):
        return False
    return _STORE in (section.get("data_stores") or (_STORE,))


def _sqlite(arguments: Mapping[str, Any]) -> Connection:
    path = Path(str(arguments.get("database", "")))
    # Else SQLite makes an empty one.
    if not path.is_file():
        raise DatabaseError(f"there is no database {path}; it is looked for from here")
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=_PATIENCE_S,
        isolation_level=None,
    )
    return Connection(connection, SQLITE)


def _postgres(arguments: Mapping[str, Any]) -> Connection:
    try:
        import psycopg2  # noqa: PLC0415 not needed for SQLite
    except ImportError as error:
        raise DatabaseError(f"PostgreSQL needs psycopg2: {error}") from error
    # Those are of Synapse's pool of connections.
    own = {key: arguments[key] for key in arguments if not key.startswith("cp_")}
    try:
        connection = psycopg2.connect(**own)
        connection.autocommit = True
        # What is lost in a crash is deleted again by the next sweep.
        connection.cursor().execute("SET synchronous_commit TO OFF")
    except psycopg2.Error as error:
        raise DatabaseError(str(error).strip()) from error
    return Connection(connection, POSTGRES)


def _in_the_way(error: Exception) -> bool:
    """Say whether it was others: a deadlock, or a lock that SQLite waited for."""
    deadlock = "40P01"
    return getattr(error, "pgcode", None) == deadlock or (
        isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    )

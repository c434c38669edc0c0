"""A statement that hangs is cancelled from outside, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator

import attrs
import pytest

from synapse_withheld.cli.shared.explaining.mailboxes import TABLES
from synapse_withheld.database.cancelling import Cancellable, CancelledStatementError
from synapse_withheld.database.database import Database, StatementError
from tests.store.conftest import Connection

if TYPE_CHECKING:
    from tests.harness.databases.postgres import PostgresServer

# A statement that hangs would hang for so long; tests wait less, in seconds.
LONG_S = 60
SOON_S = 10.0

ENDLESS = """
    ALTER TABLE devices RENAME TO devices_before;
    CREATE VIEW devices AS
        WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n FROM c)
        SELECT '@r:hs' AS user_id, 'R' AS device_id, 0 AS hidden FROM c
        WHERE n = 2;
"""


@attrs.frozen
class Hanging:
    """A connection on which statements about devices hang until it is `healed`."""

    raw: Any
    name: str
    heal: Callable[[], None]


@pytest.fixture(params=["sqlite", "locked", "asleep"])
def hanging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hanging]:
    """Let statements about devices hang, in each way that a database can."""
    if request.param == "sqlite":
        with _endless(tmp_path) as found:
            yield found
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = dict(server.database()["args"])["dbname"]
    with _on_postgres(server.arguments(name), request.param) as found:
        yield found


@contextmanager
def _endless(directory: Path) -> Iterator[Hanging]:
    connection = sqlite3.connect(
        directory / "db", isolation_level=None, check_same_thread=False
    )
    connection.executescript(TABLES)
    connection.executescript(ENDLESS)

    def heal() -> None:
        connection.executescript(
            "DROP VIEW devices; ALTER TABLE devices_before RENAME TO devices"
        )

    yield Hanging(connection, "sqlite", heal)
    connection.close()


@contextmanager
def _on_postgres(arguments: dict[str, Any], how: str) -> Iterator[Hanging]:
    import psycopg2  # noqa: PLC0415 without it the fixture skips

    ours, other = (psycopg2.connect(**arguments) for _ in range(2))
    ours.autocommit = True
    ours.cursor().execute(TABLES)
    if how == "locked":
        other.cursor().execute("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
        heal = other.rollback
    else:
        ours.cursor().execute(f"""
            ALTER TABLE devices RENAME TO devices_before;
            CREATE VIEW devices AS SELECT '@r:hs' AS user_id, 'R' AS device_id,
                pg_sleep({LONG_S}) IS NULL AS hidden
        """)

        def heal() -> None:
            ours.cursor().execute(
                "DROP VIEW devices; ALTER TABLE devices_before RENAME TO devices"
            )

    yield Hanging(ours, "postgres", heal)
    ours.close()
    other.close()


def database_on(hanging: Hanging, started: threading.Event) -> Database:
    """Return the database, whose statements run in threads."""

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        def in_thread() -> Any:
            transaction = Connection(hanging.raw, hanging.name)
            started.set()
            return function(transaction, *arguments)

        return await asyncio.get_running_loop().run_in_executor(None, in_thread)

    return Database(run, "", connection_of=lambda _: hanging.raw)


def test_a_hanging_statement_ends_and_its_connection_lives(hanging: Hanging) -> None:
    """So that no thread is lost; and the driver's error is not passed on."""
    started = threading.Event()
    database = database_on(hanging, started)

    async def main() -> None:
        asked = asyncio.create_task(database.read_devices(["@r:hs"]))
        await asyncio.sleep(0.2)
        assert started.is_set()
        began_s = time.monotonic()
        database.cancel()
        with pytest.raises(StatementError) as failure:
            await asyncio.wait_for(asked, SOON_S)
        assert isinstance(failure.value.__cause__, CancelledStatementError)
        assert time.monotonic() - began_s < SOON_S
        hanging.heal()
        assert {} == await database.read_devices(["@r:hs"])

    asyncio.run(main())


class Driver:
    """A connection of psycopg2 that notes how it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def cancel(self) -> None:
        self.cancelled.set()
        assert self.may_go_on.wait(SOON_S)


def wait_for_threads() -> None:
    """Wait until what was to be cancelled is."""
    for thread in threading.enumerate():
        if thread.name == "withheld_cancel":
            thread.join(SOON_S)


def test_what_has_not_begun_does_not() -> None:
    """It waits for a thread, and others need that more."""
    driver = Driver()
    statement = Cancellable(lambda _: pytest.fail("it ran"), lambda _: driver)
    statement.cancel()
    wait_for_threads()

    with pytest.raises(CancelledStatementError):
        statement(None)
    assert not driver.cancelled.is_set()


def test_what_has_ended_is_left_alone() -> None:
    """The connection is somebody else's by now."""
    driver = Driver()
    statement = Cancellable(lambda _, more: more, lambda _: driver)
    assert statement(None, "more") == "more"

    statement.cancel()
    wait_for_threads()
    assert not driver.cancelled.is_set()


def test_a_statement_does_not_end_while_it_is_being_cancelled() -> None:
    """Else the next one on that connection would be."""
    driver = Driver()
    driver.may_go_on.clear()
    ended = threading.Event()

    def function(_: Any) -> None:
        assert driver.cancelled.wait(SOON_S)

    statement = Cancellable(function, lambda _: driver)

    def run() -> None:
        statement(None)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    statement.cancel()
    assert driver.cancelled.wait(SOON_S)
    assert not ended.wait(0.1)
    driver.may_go_on.set()
    thread.join(SOON_S)
    assert ended.is_set()


@pytest.mark.parametrize("connection", [None, object()])
def test_where_the_connection_cannot_be_reached_it_is_left(connection: Any) -> None:
    """It answers when it does."""

    def function(_: Any) -> str:
        statement.cancel()
        wait_for_threads()
        return "answer"

    statement = Cancellable(function, lambda _: connection)

    assert statement(None) == "answer"


def test_an_error_of_its_own_is_passed_on() -> None:
    """Synapse knows which of them it tries again after."""

    def fail(_: Any) -> None:
        raise sqlite3.OperationalError

    with pytest.raises(sqlite3.OperationalError):
        Cancellable(fail, lambda _: None)(None)


def test_a_cancellation_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else would hear of it."""

    class Broken:
        def cancel(self) -> None:
            raise OSError

    def function(_: Any) -> None:
        statement.cancel()
        wait_for_threads()

    statement = Cancellable(function, lambda _: Broken())
    statement(None)

    assert "cannot cancel a statement" in caplog.text

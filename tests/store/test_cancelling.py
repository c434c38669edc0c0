"""A statement that hangs is cancelled from outside, on both databases."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator

import attrs
import pytest

from synapse_withheld.cli.shared.explaining.mailboxes import TABLES
from synapse_withheld.database.cancelling import Cancellable, CancelledStatementError
from synapse_withheld.database.database import Database, StatementError
from tests.store.conftest import Connection

if TYPE_CHECKING:
    from tests.harness.servers.postgres import PostgresServer

# Tests wait less, in seconds; what hangs would do so for good.
SOON_S = 10.0

ENDLESS = """
    ALTER TABLE devices RENAME TO devices_before;
    CREATE VIEW devices AS
        WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n FROM c)
        SELECT '@r:hs' AS user_id, 'R' AS device_id, 0 AS hidden FROM c
        WHERE n = 2;
"""
HEALED = "DROP VIEW devices; ALTER TABLE devices_before RENAME TO devices"


@attrs.frozen
class Hanging:
    """A connection on which statements about devices hang until it is `healed`."""

    raw: Any
    name: str
    heal: Callable[[], object]


@pytest.fixture(params=["sqlite", "postgres"])
def hanging(request: pytest.FixtureRequest) -> Iterator[Hanging]:
    """Let statements about devices hang: in an endless loop, or behind a lock."""
    if request.param == "sqlite":
        connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        connection.executescript(TABLES + ENDLESS)
        heal = functools.partial(connection.executescript, HEALED)
        yield Hanging(connection, request.param, heal)
        connection.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    import psycopg2  # noqa: PLC0415 without it the line above skips

    name = dict(server.database()["args"])["dbname"]
    ours, other = (psycopg2.connect(**server.arguments(name)) for _ in range(2))
    ours.autocommit = True
    ours.cursor().execute(TABLES)
    other.cursor().execute("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
    yield Hanging(ours, request.param, other.rollback)
    ours.close()
    other.close()


def test_a_hanging_statement_ends_and_its_connection_lives(hanging: Hanging) -> None:
    """So that no thread is lost; and the driver's error is not passed on."""
    started = threading.Event()

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        def in_thread() -> Any:
            transaction = Connection(hanging.raw, hanging.name)
            started.set()
            return function(transaction, *arguments)

        return await asyncio.get_running_loop().run_in_executor(None, in_thread)

    database = Database(run, "", connection_of=lambda _: hanging.raw)

    async def main() -> None:
        asked = asyncio.create_task(database.read_devices(["@r:hs"]))
        while not started.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        database.cancel()
        with pytest.raises(StatementError) as failure:
            await asyncio.wait_for(asked, SOON_S)
        assert isinstance(failure.value.__cause__, CancelledStatementError)
        hanging.heal()
        assert {} == await database.read_devices(["@r:hs"])

    asyncio.run(main())


class Driver:
    """A connection of psycopg2 that notes how it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.may_go_on = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()
        assert self.may_go_on.wait(SOON_S)


def cancel(statement: Cancellable) -> None:
    """Cancel a statement, and wait until that is done."""
    statement.cancel()
    for thread in threading.enumerate():
        if thread.name == "withheld_cancel":
            thread.join(SOON_S)


def test_what_has_not_begun_does_not_and_what_has_ended_is_left_alone() -> None:
    """Others need the thread more; the connection is somebody else's by now."""
    driver = Driver()
    statement = Cancellable(lambda _: pytest.fail("it ran"), lambda _: driver)
    cancel(statement)
    with pytest.raises(CancelledStatementError):
        statement(None)

    statement = Cancellable(lambda _, more: more, lambda _: driver)
    assert statement(None, "more") == "more"
    cancel(statement)
    assert not driver.cancelled.is_set()


def test_a_statement_does_not_end_while_it_is_being_cancelled() -> None:
    """Else the next one on that connection would be."""
    driver = Driver()
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


class Broken:
    """A connection that cannot be cancelled."""

    def cancel(self) -> None:
        raise OSError


@pytest.mark.parametrize("connection", [None, object(), Broken()])
def test_where_the_connection_cannot_be_reached_it_is_left(
    connection: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers when it does; what fails is logged: nobody else would hear of it."""

    def function(_: Any) -> str:
        cancel(statement)
        return "answer"

    statement = Cancellable(function, lambda _: connection)

    assert statement(None) == "answer"
    is_broken = isinstance(connection, Broken)
    assert is_broken == ("cannot cancel a statement" in caplog.text)

"""A statement that hangs is cancelled from outside, on both databases."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, Callable, Iterator
from unittest import mock

import pytest

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.database.cancelling import Cancellable, CancelledStatementError
from synapse_withheld.database.database import Database, StatementError
from tests.store.conftest import Connection, opened

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


@pytest.fixture
def heal(database: Connection) -> Iterator[Callable[[], object]]:
    """Let statements about devices hang, in a loop or behind a lock; give the end."""
    if database.is_sqlite:
        database.raw.executescript(ENDLESS)
        yield lambda: database.raw.executescript(HEALED)
        return
    with closing(opened(database.section)) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
        yield other.rollback


def test_a_hanging_statement_ends_and_its_connection_lives(
    database: Connection, heal: Callable[[], object]
) -> None:
    """So that no thread is lost; and the driver's error is not passed on."""

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(Connection(database.raw, database.section), *arguments)

    def watchdog(cancel: Callable[[], None]) -> mock.Mock:
        threading.Timer(0.2, cancel).start()
        return mock.Mock()

    asking = Database(run, "", connection_of=lambda _: database.raw, watchdog=watchdog)
    with pytest.raises(StatementError) as failure:
        driven(asking.read_devices(["@r:hs"]))
    assert isinstance(failure.value.__cause__, CancelledStatementError)
    heal()
    assert {} == driven(asking.read_devices(["@r:hs"]))


def cancel(statement: Cancellable) -> None:
    """Cancel a statement, and wait until that is done."""
    statement.cancel()
    for thread in threading.enumerate():
        if thread.name == "withheld_cancel":
            thread.join(SOON_S)


def test_what_has_not_begun_does_not_and_what_has_ended_is_left_alone() -> None:
    """Others need the thread more; the connection is somebody else's by now."""
    driver = mock.Mock()
    statement = Cancellable(lambda _, more: more, lambda _: driver)
    assert statement(None, "more") == "more"
    cancel(statement)
    assert [] == driver.mock_calls
    with pytest.raises(CancelledStatementError):
        statement(None, "more")


def test_a_statement_does_not_end_while_it_is_being_cancelled() -> None:
    """Else the next one on that connection would be."""
    cancelled, may_go_on = threading.Event(), threading.Event()

    def send() -> None:
        cancelled.set()
        may_go_on.wait(SOON_S)

    driver = mock.Mock(cancel=send)
    statement = Cancellable(lambda _: cancelled.wait(SOON_S), lambda _: driver)
    thread = threading.Thread(target=statement, args=(None,))
    thread.start()
    statement.cancel()
    assert cancelled.wait(SOON_S)
    thread.join(0.1)
    assert thread.is_alive()
    may_go_on.set()
    thread.join(SOON_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("cancels", [None, mock.Mock(side_effect=OSError)])
def test_where_the_connection_cannot_be_reached_it_is_left(
    cancels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers when it does; what fails is logged: nobody else would hear of it."""
    connection = cancels and mock.Mock(cancel=cancels)
    statement = Cancellable(lambda _: cancel(statement), lambda _: connection)
    statement(None)
    assert bool(cancels) == ("cannot cancel a statement" in caplog.text)

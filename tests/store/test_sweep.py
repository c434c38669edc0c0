"""The sweep on both databases: its statements, and what it leaves."""

from __future__ import annotations

from typing import Any, Callable

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.database.backlog import (
    NEWEST_OF_MAILBOX,
    Place,
    withheld_estimate_backlog,
    withheld_read_backlog,
    withheld_read_doomed,
    withheld_read_newest,
)
from synapse_withheld.database.database import Database
from synapse_withheld.database.sql import MOST_OF_ROW, most_deleted
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.sweep.walk import Sweep
from tests.harness.backlog import Table, notice, other
from tests.store.conftest import Connection
from tests.store.test_statements import Q, R, add_task


def fill(database: Connection, table: Table) -> None:
    """Queue rows."""
    for place, text in table.items():
        sql = "INSERT INTO device_inbox VALUES (?, ?, ?, ?)"
        database.execute(sql, (*place, text))


def left(database: Connection) -> set[Place]:
    """Return the places of all rows."""
    rows = database.rows("SELECT user_id, device_id, stream_id FROM device_inbox")
    return {(user_id, device_id, stream_id) for user_id, device_id, stream_id in rows}


def backlog_of(database: Connection) -> Database:
    """Return what a sweep asks."""

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(database, *arguments)

    return Database(run, database.driver)


def finish(sweep: Sweep) -> None:
    """Sweep to the end."""
    while not sweep.progress.done:
        driven(sweep.step())


def test_rows_are_read_against_the_index_and_in_bounded_batches(
    database: Connection,
) -> None:
    """Mailbox by mailbox, each from its newest row."""
    driver = database.driver
    fill(database, {(*Q, 2): notice(), (*R, 1): other(), (*R, 3): notice()})
    first = withheld_read_backlog(database, driver, None, 2)
    assert [(*R, 3, notice()), (*R, 1, other())] == first
    assert [(*Q, 2, notice())] == withheld_read_backlog(database, driver, (*R, 1), 2)
    assert [] == withheld_read_backlog(database, driver, (*Q, 2), 2)
    assert first == withheld_read_backlog(database, driver, (*R, NEWEST_OF_MAILBOX), 2)


def test_what_is_too_long_for_a_notice_is_not_read(database: Connection) -> None:
    """So that memory stays bounded, whatever was stored and in whatever script."""
    most = MOST_OF_ROW - len(notice(reason=""))
    fits = {(*R, 2): notice(reason="x" * most), (*R, 1): notice(reason="\N{SNOWMAN}")}
    fill(database, {**fits, (*R, 3): notice(reason="x" * 9000)})
    driver = database.driver
    rows = withheld_read_backlog(database, driver, None, 3)
    assert {(*R, 3): None, **fits} == {row[:3]: row[3] for row in rows}


def test_doomed_is_what_an_unfinished_deletion_names(database: Connection) -> None:
    """Neither a namesake of another user nor what was finished."""
    add_task(database, R, 5, status="scheduled")
    add_task(database, Q, 5, status="complete")
    asked = [R, Q, ("@other:hs", "R")]
    assert {R} == withheld_read_doomed(database, asked)


def test_the_number_of_rows_is_estimated(database: Connection) -> None:
    """Near enough for a progress bar, without counting."""
    driver = database.driver
    assert 0 == withheld_read_newest(database)
    fill(database, {(*R, number): notice() for number in range(1, 401)})
    database.execute("ANALYZE")
    assert 400 == withheld_estimate_backlog(database, driver)
    assert 400 == withheld_read_newest(database)


def test_as_many_as_a_batch_has_go_in_few_statements(database: Connection) -> None:
    """Each row with a newer one of its own takes the most parameters."""
    most = most_deleted(database.driver)
    covered = [Superseded(R, 2 * n + 1, 2 * n + 2) for n in range(most + 1)]
    fill(database, {(*R, n): notice() for n in range(1, 2 * len(covered) + 1)})
    database.executed.clear()
    assert most + 1 == driven(backlog_of(database).delete(covered))
    counts = [len(parameters) for _, parameters in database.executed]
    assert {(*R, row.newer_stream_id) for row in covered} == left(database)
    assert 2 == len(counts)
    # An old SQLite takes 999.
    assert database.name != "sqlite" or max(counts) < 1000

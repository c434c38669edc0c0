"""The SQL statement that deletes cancellations whose requests nobody was handed."""

from __future__ import annotations

from typing import Sequence

from synapse_withheld.database.inbox import (
    DOOMING_TASK,
    names_and_tasks,
    no_task_dooms,
    rows_to_delete,
)
from synapse_withheld.database.sql import Transaction, tuples
from synapse_withheld.rules.mailbox import MailboxKey


def withheld_delete_vanished(
    txn: Transaction, driver: str, rows: Sequence[tuple[MailboxKey, int]]
) -> int:
    """Delete rows by exact key where no task dooms them.

    Nothing newer has to be there: what they take back is gone, too.

    Args:
        txn: Where it runs.
        driver: As Synapse names it: `sqlite3` or `psycopg2`.
        rows: Mailbox and stream ID of each.
    """
    deleted, found, join = rows_to_delete(driver, "v", "v")
    sql = f"""
        DELETE FROM device_inbox
        WHERE {deleted} IN (
            WITH vanished(user_id, device_id, stream_id, named_in_task)
            AS (VALUES {tuples(len(rows), 4)})
            SELECT {found} FROM vanished AS v
            {join}
            WHERE {no_task_dooms("v")}
        )
    """  # noqa: S608 only question marks and names of our own are put in
    txn.execute(sql, (*names_and_tasks(rows), DOOMING_TASK))
    return txn.rowcount

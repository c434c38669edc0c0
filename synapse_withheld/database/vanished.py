"""The SQL statement that deletes cancellations whose requests nobody was handed."""

from __future__ import annotations

import json
from typing import Any, Sequence

from synapse_withheld.database.inbox import DOOMING_TASK
from synapse_withheld.database.sql import SQLITE, Transaction, tuples
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
    deleted, join = "(user_id, device_id, stream_id)", ""
    found = "v.user_id, v.device_id, v.stream_id"
    if driver == SQLITE:
        # As for what is superseded: it finds a row by its index in a join only.
        deleted, found = "rowid", "gone.rowid"
        join = """
            CROSS JOIN device_inbox AS gone
            ON gone.user_id = v.user_id AND gone.device_id = v.device_id
                AND gone.stream_id = v.stream_id
        """
    sql = f"""
        DELETE FROM device_inbox
        WHERE {deleted} IN (
            WITH vanished(user_id, device_id, stream_id, named_in_task)
            AS (VALUES {tuples(len(rows), 4)})
            SELECT {found} FROM vanished AS v
            {join}
            WHERE NOT EXISTS (
                SELECT 1 FROM scheduled_tasks AS t
                WHERE t.status IN ('scheduled', 'active') AND t.action = ?
                    AND t.resource_id = v.device_id
                    AND REPLACE(t.params, v.named_in_task, '') <> t.params
            )
        )
    """  # noqa: S608 only question marks are put in
    named: list[Any] = []
    for (user_id, device_id), stream_id in rows:
        named += (user_id, device_id, stream_id, f'"user_id":{json.dumps(user_id)}')
    txn.execute(sql, (*named, DOOMING_TASK))
    return txn.rowcount

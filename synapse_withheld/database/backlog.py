"""The SQL statements of the sweep over `device_inbox`.

Each is bounded, runs alone and in no transaction of its own. What deletes is
`withheld_delete_superseded`, as for the module.
"""

from __future__ import annotations

import json
from typing import Any, List, Optional, Sequence, Tuple

from synapse_withheld.database.inbox import DOOMING_TASK, as_dooms
from synapse_withheld.database.sql import MOST_OF_ROW, SQLITE, Transaction, marks
from synapse_withheld.rules.mailbox import MailboxKey

# (user ID, device ID, stream ID): where a row is in the order of the index.
Place = Tuple[str, str, int]

# The place of a row and its text, if that is not too long for a notice.
BacklogRow = Tuple[str, str, int, Optional[str]]

# Bytes of UTF-8.
MOST_OF_CHARACTER = 4


def withheld_read_backlog(
    txn: Transaction, driver: str, before: Place | None, limit: int
) -> List[BacklogRow]:
    """Read so many rows, notices or not, below a place against the index's order.

    What is in a text is not looked at by the database, which would take longer for it
    than for sending it; of texts that are too long for a notice nothing is sent.
    """
    from_here = "WHERE (user_id, device_id, stream_id) < (?, ?, ?)" if before else ""
    # PostgreSQL would count characters; how many bytes there are it knows.
    length, most = (
        ("LENGTH", MOST_OF_ROW)
        if driver == SQLITE
        else ("OCTET_LENGTH", MOST_OF_ROW * MOST_OF_CHARACTER)
    )
    sql = f"""
        SELECT user_id, device_id, stream_id,
            CASE WHEN {length}(message_json) <= ? THEN message_json END
        FROM device_inbox
        {from_here}
        ORDER BY user_id DESC, device_id DESC, stream_id DESC
        LIMIT ?
    """  # noqa: S608 a function's name and question marks are put in
    place: tuple[Any, ...] = before or ()
    txn.execute(sql, (most, *place, limit))
    return txn.fetchall()


def withheld_read_doomed(
    txn: Transaction, mailboxes: Sequence[MailboxKey]
) -> set[MailboxKey]:
    """Read which mailboxes a deletion of their device is about to empty."""
    sql = f"""
        SELECT t.params FROM scheduled_tasks AS t
        WHERE t.status IN ('scheduled', 'active') AND t.action = ?
            AND t.resource_id IN ({marks(len(mailboxes))})
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, (DOOMING_TASK, *(device_id for _, device_id in mailboxes)))
    return set(as_dooms(params for (params,) in txn.fetchall()))


def withheld_read_newest(txn: Transaction) -> int:
    """Read the position of the newest row, 0 if there is none."""
    txn.execute("SELECT COALESCE(MAX(stream_id), 0) FROM device_inbox", ())
    ((newest,),) = txn.fetchall()
    return int(newest)


def withheld_estimate_backlog(
    txn: Transaction, driver: str, table: str = "device_inbox"
) -> int:
    """Estimate how many rows there are, without looking at them; 0 if unknown."""
    if driver == SQLITE:
        # Rows that were deleted count too.
        sql = f"SELECT COALESCE(MAX(rowid), 0) FROM {table}"  # noqa: S608 our own name
        txn.execute(sql, ())
        ((rows,),) = txn.fetchall()
        return int(rows)
    # What the planner takes for the number, whether the table was analysed or not.
    txn.execute(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {table}", ())  # noqa: S608 same
    ((plan,),) = txn.fetchall()
    # Some connections parse it, others do not.
    (root,) = json.loads(plan) if isinstance(plan, str) else plan
    return int(root["Plan"]["Plan Rows"])

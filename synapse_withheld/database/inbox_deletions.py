"""The SQL statements that delete rows of `device_inbox`, each by its exact key."""

from __future__ import annotations

import json
from typing import Any, Iterable, Sequence

from synapse_withheld.database.inbox import DOOMING_TASK
from synapse_withheld.database.sql import (
    Transaction,
    numbered,
    rows_to_delete,
    tuples,
)
from synapse_withheld.rules.mailbox import MailboxKey, Superseded


def withheld_delete_superseded(
    txn: Transaction, driver: str, superseded: Sequence[Superseded]
) -> int:
    """Delete rows by exact key where the newer row exists and no task dooms them.

    The task would end early, and strand what is left, if rows vanished under it. Each
    newer row is looked for once, and not for each row that it makes redundant.
    """
    numbers: dict[tuple[MailboxKey, int], int] = {}
    rows: list[tuple[int, int]] = []
    for row in superseded:
        newer = (row.mailbox, row.newer_stream_id)
        rows.append((numbers.setdefault(newer, len(numbers)), row.stream_id))
    # Parameters are scarce.
    row_marks = ", ".join(f"({number}, ?)" for number, _ in rows)
    deleted, found, join = rows_to_delete(driver, "device_inbox", _place("s", "o"))
    # DISTINCT changes nothing, but that a planner looks for the newer ones first.
    sql = f"""
        DELETE FROM device_inbox
        WHERE {deleted} IN (
            WITH newer(number, user_id, device_id, stream_id, named_in_task)
            AS (VALUES {numbered(len(numbers), 4)}),
            standing AS (
                SELECT DISTINCT n.number, n.user_id, n.device_id, n.stream_id
                FROM newer AS n
                WHERE EXISTS (
                    SELECT 1 FROM device_inbox AS i
                    WHERE i.user_id = n.user_id AND i.device_id = n.device_id
                        AND i.stream_id = n.stream_id
                )
                AND {_no_task_dooms("n")}
            ),
            superseded(number, stream_id) AS (VALUES {row_marks})
            SELECT {found} FROM superseded AS o
            INNER JOIN standing AS s
                ON s.number = o.number AND s.stream_id > o.stream_id
            {join}
        )
    """  # noqa: S608 only question marks and numbers are put in
    named = _names_and_tasks(numbers)
    txn.execute(sql, (*named, DOOMING_TASK, *(stream_id for _, stream_id in rows)))
    return txn.rowcount


def withheld_delete_vanished(
    txn: Transaction, driver: str, rows: Sequence[tuple[MailboxKey, int]]
) -> int:
    """Delete rows by exact key where no task dooms them.

    Of cancellations: nothing newer has to be there, as what they take back is gone.
    """
    deleted, found, join = rows_to_delete(driver, "device_inbox", _place("v", "v"))
    sql = f"""
        DELETE FROM device_inbox
        WHERE {deleted} IN (
            WITH vanished(user_id, device_id, stream_id, named_in_task)
            AS (VALUES {tuples(len(rows), 4)})
            SELECT {found} FROM vanished AS v
            {join}
            WHERE {_no_task_dooms("v")}
        )
    """  # noqa: S608 only question marks and names of our own are put in
    txn.execute(sql, (*_names_and_tasks(rows), DOOMING_TASK))
    return txn.rowcount


def _place(mailbox: str, row: str) -> dict[str, str]:
    whose = {each: f"{mailbox}.{each}" for each in ("user_id", "device_id")}
    return {**whose, "stream_id": f"{row}.stream_id"}


def _no_task_dooms(named: str) -> str:
    """Return the condition that no deletion of a device is under way.

    Its parameter is `DOOMING_TASK`; `named` has what `_names_and_tasks` gives.
    """
    return f"""NOT EXISTS (
        SELECT 1 FROM scheduled_tasks AS t
        WHERE t.status IN ('scheduled', 'active') AND t.action = ?
            AND t.resource_id = {named}.device_id
            AND REPLACE(t.params, {named}.named_in_task, '') <> t.params
    )"""  # noqa: S608 a name of our own is put in


def _names_and_tasks(rows: Iterable[tuple[MailboxKey, int]]) -> list[Any]:
    """Return user, device, stream ID and what a task would name of each row."""
    return [
        part
        for (user_id, device_id), stream_id in rows
        for part in (user_id, device_id, stream_id, f'"user_id":{json.dumps(user_id)}')
    ]

"""The SQL statements about mailboxes: the rows of `device_inbox`."""

from __future__ import annotations

import json
from typing import Any, Iterable, Sequence

from synapse_withheld.database.sql import (
    MOST_OF_ROW,
    MailboxReading,
    Transaction,
    contains_any,
    decode,
    depth_of_reading,
    tuples,
)
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded

# What deletes the messages of a device that was deleted.
DOOMING_TASK = "delete_device_messages"


def withheld_read_mailboxes(
    txn: Transaction, mailboxes: Sequence[MailboxKey], texts: Sequence[str]
) -> dict[MailboxKey, MailboxReading]:
    """Read which devices exist, what may be notices in them, and what is doomed.

    Args:
        txn: Where it runs.
        mailboxes: Which.
        texts: What the text of every row with a notice contains one of.
    """
    # One part for each mailbox: its newest rows are found in the index, however
    # rare a planner believes the pattern to be. The depth is our own number, and
    # parameters are scarce.
    newest = f"""
        SELECT * FROM (
            SELECT user_id, device_id, stream_id, message_json FROM device_inbox
            WHERE user_id = ? AND device_id = ?
            ORDER BY stream_id DESC LIMIT {depth_of_reading(len(mailboxes))}
        ) AS newest
    """  # noqa: S608 only a number is put in
    may_be_notice, patterns = contains_any("i.message_json", texts)
    sql = f"""
        WITH mailbox(user_id, device_id) AS (VALUES {tuples(len(mailboxes), 2)})
        SELECT 'device', m.user_id, m.device_id, NULL, NULL
        FROM mailbox AS m
        INNER JOIN devices AS d
            ON d.user_id = m.user_id AND d.device_id = m.device_id AND NOT d.hidden
        UNION ALL
        SELECT 'message', i.user_id, i.device_id, i.stream_id,
            SUBSTR(i.message_json, 1, ?)
        FROM ({" UNION ALL ".join([newest] * len(mailboxes))}) AS i
        WHERE {may_be_notice}
        UNION ALL
        SELECT 'task', NULL, t.resource_id, NULL, t.params
        FROM scheduled_tasks AS t
        WHERE t.status IN ('scheduled', 'active') AND t.action = ?
            AND t.resource_id IN (SELECT device_id FROM mailbox)
    """  # noqa: S608 only question marks and numbers are put in
    named = [part for mailbox in mailboxes for part in mailbox]
    txn.execute(sql, (*named, MOST_OF_ROW, *named, *patterns, DOOMING_TASK))
    return _as_readings(txn.fetchall())


def withheld_read_queued(
    txn: Transaction, rows: Sequence[tuple[MailboxKey, int]]
) -> dict[tuple[MailboxKey, int], RowState]:
    """Read what became of rows, as far as their devices exist and none is doomed."""
    sql = f"""
        WITH queued(user_id, device_id, stream_id) AS (
            VALUES {tuples(len(rows), 3)}
        )
        SELECT 'row', q.user_id, q.device_id, q.stream_id,
            EXISTS (
                SELECT 1 FROM device_inbox AS i
                WHERE i.user_id = q.user_id AND i.device_id = q.device_id
                    AND i.stream_id = q.stream_id
            ),
            (
                SELECT MAX(l.stream_id) FROM device_lists_stream AS l
                WHERE l.user_id = q.user_id AND l.device_id = q.device_id
            ),
            EXISTS (
                SELECT 1 FROM dehydrated_devices AS h
                WHERE h.user_id = q.user_id AND h.device_id = q.device_id
            ),
            NULL
        FROM queued AS q
        WHERE EXISTS (
            SELECT 1 FROM devices AS d
            WHERE d.user_id = q.user_id AND d.device_id = q.device_id AND NOT d.hidden
        )
        UNION ALL
        SELECT 'task', NULL, t.resource_id, NULL, NULL, NULL, NULL, t.params
        FROM scheduled_tasks AS t
        WHERE t.status IN ('scheduled', 'active') AND t.action = ?
            AND t.resource_id IN (SELECT device_id FROM queued)
    """  # noqa: S608 only question marks are put in
    named = [part for mailbox, stream_id in rows for part in (*mailbox, stream_id)]
    txn.execute(sql, (*named, DOOMING_TASK))
    found = txn.fetchall()
    doomed_up_to = _as_dooms(row[7] for row in found if row[0] == "task")
    return {
        ((user_id, device_id), stream_id): RowState(
            bool(there), changed or 0, bool(kept)
        )
        for kind, user_id, device_id, stream_id, there, changed, kept, _ in found
        if kind == "row" and stream_id > doomed_up_to.get((user_id, device_id), 0)
    }


def withheld_delete_superseded(
    txn: Transaction, superseded: Sequence[Superseded]
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
    # The numbers are our own, and parameters are scarce.
    newer_marks = ", ".join(f"({number}, ?, ?, ?, ?)" for number in numbers.values())
    row_marks = ", ".join(f"({number}, ?)" for number, _ in rows)
    # DISTINCT changes nothing, but that a planner looks for the newer ones first.
    sql = f"""
        DELETE FROM device_inbox
        WHERE (user_id, device_id, stream_id) IN (
            WITH newer(number, user_id, device_id, stream_id, named_in_task)
            AS (VALUES {newer_marks}),
            standing AS (
                SELECT DISTINCT n.number, n.user_id, n.device_id, n.stream_id
                FROM newer AS n
                WHERE EXISTS (
                    SELECT 1 FROM device_inbox AS i
                    WHERE i.user_id = n.user_id AND i.device_id = n.device_id
                        AND i.stream_id = n.stream_id
                )
                AND NOT EXISTS (
                    SELECT 1 FROM scheduled_tasks AS t
                    WHERE t.status IN ('scheduled', 'active') AND t.action = ?
                        AND t.resource_id = n.device_id
                        AND REPLACE(t.params, n.named_in_task, '') <> t.params
                )
            ),
            superseded(number, stream_id) AS (VALUES {row_marks})
            SELECT s.user_id, s.device_id, o.stream_id FROM superseded AS o
            INNER JOIN standing AS s
                ON s.number = o.number AND s.stream_id > o.stream_id
        )
    """  # noqa: S608 only question marks and numbers are put in
    named: list[Any] = []
    for (user_id, device_id), newer_id in numbers:
        task_names = f'"user_id":{json.dumps(user_id)}'
        named += (user_id, device_id, newer_id, task_names)
    txn.execute(sql, (*named, DOOMING_TASK, *(stream_id for _, stream_id in rows)))
    return txn.rowcount


def _as_readings(
    rows: Sequence[tuple[Any, ...]],
) -> dict[MailboxKey, MailboxReading]:
    doomed_up_to = _as_dooms(row[4] for row in rows if row[0] == "task")
    readings = {
        (row[1], row[2]): MailboxReading() for row in rows if row[0] == "device"
    }
    for kind, user_id, device_id, stream_id, text in rows:
        key = (user_id, device_id)
        if kind == "message" and key in readings:
            message = decode(text)
            if message is not None and stream_id > doomed_up_to.get(key, 0):
                readings[key].messages.append((stream_id, message))
    for reading in readings.values():
        reading.messages.sort(key=lambda message: -message[0])
    return readings


def _as_dooms(tasks: Iterable[str]) -> dict[MailboxKey, int]:
    dooms: dict[MailboxKey, int] = {}
    for params in map(json.loads, tasks):
        key = (params["user_id"], params["device_id"])
        dooms[key] = max(dooms.get(key, 0), params["up_to_stream_id"])
    return dooms

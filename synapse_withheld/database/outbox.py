"""The SQL statements about outboxes: the rows of `device_federation_outbox`.

A mailbox here is that of a device on another server: what waits for it is in the
outbox of that server, an EDU with messages for any number of devices in each row.
"""

from __future__ import annotations

from typing import Any, Sequence

from synapse_withheld.database.sql import (
    MOST_OF_ROW,
    MailboxReading,
    Transaction,
    contains_any,
    decode,
    depth_of_reading,
    tuples,
)
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded


def withheld_read_outboxes(
    txn: Transaction, mailboxes: Sequence[MailboxKey], texts: Sequence[str]
) -> dict[MailboxKey, MailboxReading]:
    """Read what waits for devices alone: EDUs of one message that may be a notice.

    What is in one EDU with others is left alone, so nobody needs to know of it.

    Args:
        txn: Where it runs.
        mailboxes: Which.
        texts: What the text of every row with a notice contains one of.
    """
    destinations = list(dict.fromkeys(server_of(user_id) for user_id, _ in mailboxes))
    # One part for each outbox: their newest rows are found before any is looked at.
    newest = """
        SELECT * FROM (
            SELECT stream_id, messages_json FROM device_federation_outbox
            WHERE destination = ? ORDER BY stream_id DESC LIMIT ?
        ) AS newest
    """
    may_be_notice, patterns = contains_any("o.messages_json", texts)
    sql = f"""
        SELECT o.stream_id, SUBSTR(o.messages_json, 1, ?)
        FROM ({" UNION ALL ".join([newest] * len(destinations))}) AS o
        WHERE {may_be_notice}
        ORDER BY o.stream_id DESC
    """  # noqa: S608 only question marks are put in
    depth = depth_of_reading(len(destinations))
    bounds = [part for destination in destinations for part in (destination, depth)]
    txn.execute(sql, (MOST_OF_ROW, *bounds, *patterns))
    readings = {mailbox: MailboxReading() for mailbox in mailboxes}
    for stream_id, text in txn.fetchall():
        mailbox, message = _only_message(decode(text) or {})
        if mailbox in readings:
            readings[mailbox].messages.append((stream_id, message))
    return readings


def withheld_read_queued_edus(
    txn: Transaction, rows: Sequence[tuple[MailboxKey, int]]
) -> dict[tuple[MailboxKey, int], RowState]:
    """Read what became of rows: queued or sent, and whether the device changed.

    A change matters only for what was sent: what is queued is delivered to the
    device that is there then.
    """
    sql = f"""
        WITH queued(user_id, device_id, stream_id, destination) AS (
            VALUES {tuples(len(rows), 4)}
        )
        SELECT q.user_id, q.device_id, q.stream_id,
            EXISTS (
                SELECT 1 FROM device_federation_outbox AS o
                WHERE o.destination = q.destination AND o.stream_id = q.stream_id
            ),
            (
                SELECT MAX(l.stream_id) FROM device_lists_stream AS l
                WHERE l.user_id = q.user_id AND l.device_id = q.device_id
            )
        FROM queued AS q
    """  # noqa: S608 only question marks are put in
    parameters: list[Any] = []
    for (user_id, device_id), stream_id in rows:
        parameters += (user_id, device_id, stream_id, server_of(user_id))
    txn.execute(sql, parameters)
    return {
        ((user_id, device_id), stream_id): RowState(
            bool(there), 0 if there else changed or 0
        )
        for user_id, device_id, stream_id, there, changed in txn.fetchall()
    }


def withheld_delete_superseded_edus(
    txn: Transaction, superseded: Sequence[Superseded]
) -> int:
    """Delete EDUs by exact key where the newer one is in the outbox."""
    sql = f"""
        DELETE FROM device_federation_outbox
        WHERE (destination, stream_id) IN (
            WITH superseded(destination, stream_id, newer_id)
            AS (VALUES {tuples(len(superseded), 3)})
            SELECT s.destination, s.stream_id FROM superseded AS s
            WHERE EXISTS (
                SELECT 1 FROM device_federation_outbox AS newer
                WHERE newer.destination = s.destination
                    AND newer.stream_id = s.newer_id AND s.newer_id > s.stream_id
            )
        )
    """  # noqa: S608 only question marks are put in
    parameters: list[Any] = []
    for row in superseded:
        server = server_of(row.mailbox[0])
        parameters += (server, row.stream_id, row.newer_stream_id)
    txn.execute(sql, parameters)
    return txn.rowcount


def _only_message(edu: dict[str, Any]) -> tuple[MailboxKey | None, dict[str, Any]]:
    """Return an EDU's message and the mailbox it is for, if it has just one."""
    by_user = edu.get("messages")
    if not isinstance(by_user, dict) or len(by_user) != 1:
        return None, {}
    ((user_id, by_device),) = by_user.items()
    if not isinstance(by_device, dict) or len(by_device) != 1:
        return None, {}
    ((device_id, content),) = by_device.items()
    message = {"type": edu.get("type"), "sender": edu.get("sender"), "content": content}
    return (user_id, device_id), message

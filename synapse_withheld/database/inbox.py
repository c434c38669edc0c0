"""The SQL statements about mailboxes, the rows of `device_inbox`, and devices."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Sequence

from synapse_withheld.database.sql import (
    ABOVE_ALL,
    Page,
    PageRow,
    Transaction,
    marks,
    numbered,
    rows_of_pages,
    text_of_notice,
    tuples,
)
from synapse_withheld.rules.mailbox import MailboxKey, RowState
from synapse_withheld.rules.notice import Asker

# What deletes the messages of a device that was deleted.
DOOMING_TASK = "delete_device_messages"


def withheld_read_mailboxes(
    txn: Transaction, below: Mapping[MailboxKey, int], texts: Sequence[str]
) -> dict[MailboxKey, Page]:
    """Read a page of each mailbox whose device exists, `below` some stream ID."""
    places = [(*mailbox, bound) for mailbox, bound in below.items()]
    keys = ("user_id", "device_id")
    pages, bounds = rows_of_pages("device_inbox", keys, "message_json", places)
    text, patterns = text_of_notice("p.text", texts)
    sql = f"""
        WITH mailbox(number, user_id, device_id) AS (VALUES {numbered(len(below), 2)})
        SELECT 'device', m.number, NULL, NULL FROM mailbox AS m
        INNER JOIN devices AS d
            ON d.user_id = m.user_id AND d.device_id = m.device_id AND NOT d.hidden
        UNION ALL
        SELECT 'row', p.page, p.stream_id, {text} FROM ({pages}) AS p
        UNION ALL
        SELECT 'task', NULL, NULL, t.params FROM scheduled_tasks AS t
        WHERE t.status IN ('scheduled', 'active') AND t.action = ?
            AND t.resource_id IN (SELECT device_id FROM mailbox)
    """  # noqa: S608 only question marks and numbers are put in
    named = [part for mailbox in below for part in mailbox]
    txn.execute(sql, (*named, *patterns, *bounds, DOOMING_TASK))
    return _as_pages(list(below), txn.fetchall())


def withheld_read_ends(
    txn: Transaction, mailboxes: Sequence[MailboxKey]
) -> dict[MailboxKey, tuple[int, int]]:
    """Read the oldest and the newest stream ID of each mailbox whose device exists.

    0 for none. It looks at two places of the index for each.
    """
    # Between two places, as in `rows_of_pages`.
    oldest, newest = (
        f"""(
            SELECT i.stream_id FROM device_inbox AS i
            WHERE (i.user_id, i.device_id, i.stream_id) >= (m.user_id, m.device_id, 0)
                AND (i.user_id, i.device_id, i.stream_id)
                    < (m.user_id, m.device_id, {ABOVE_ALL})
            ORDER BY i.user_id {way}, i.device_id {way}, i.stream_id {way} LIMIT 1
        )"""  # noqa: S608 a number of our own is put in
        for way in ("ASC", "DESC")
    )
    sql = f"""
        WITH mailbox(user_id, device_id) AS (VALUES {tuples(len(mailboxes), 2)})
        SELECT m.user_id, m.device_id, {oldest}, {newest} FROM mailbox AS m
        WHERE EXISTS (
            SELECT 1 FROM devices AS d
            WHERE d.user_id = m.user_id AND d.device_id = m.device_id AND NOT d.hidden
        )
    """  # noqa: S608 only question marks and the above are put in
    txn.execute(sql, [part for mailbox in mailboxes for part in mailbox])
    return {
        (user_id, device_id): (first or 0, last or 0)
        for user_id, device_id, first, last in txn.fetchall()
    }


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
    doomed_up_to = as_dooms(row[7] for row in found if row[0] == "task")
    return {
        ((user_id, device_id), stream_id): RowState(
            bool(there), changed or 0, bool(kept)
        )
        for kind, user_id, device_id, stream_id, there, changed, kept, _ in found
        if kind == "row" and stream_id > doomed_up_to.get((user_id, device_id), 0)
    }


def withheld_read_devices(
    txn: Transaction, user_ids: Sequence[str]
) -> list[tuple[str, str]]:
    """Read `(user_id, device_id)` of all devices that are not hidden."""
    sql = f"""
        SELECT user_id, device_id FROM devices
        WHERE user_id IN ({marks(len(user_ids))}) AND NOT hidden
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, tuple(user_ids))
    return [(user_id, device_id) for user_id, device_id in txn.fetchall()]


def withheld_read_gone(
    txn: Transaction, askers: Sequence[Asker]
) -> list[tuple[str, str]]:
    """Read `(user_id, device_id)` of devices that do not exist any more.

    Of users of this server all that are not there. Of others, those that were
    announced to this server once and are not in its copy of the user's device list,
    while it keeps that up to date: a message may arrive before its device is announced.
    """
    sql = f"""
        WITH asker(user_id, device_id) AS (VALUES {tuples(len(askers), 2)})
        SELECT a.user_id, a.device_id FROM asker AS a
        WHERE CASE WHEN EXISTS (SELECT 1 FROM users AS u WHERE u.name = a.user_id)
        THEN NOT EXISTS (
            SELECT 1 FROM devices AS d
            WHERE d.user_id = a.user_id AND d.device_id = a.device_id
        )
        ELSE EXISTS (
            SELECT 1 FROM device_lists_stream AS l
            WHERE l.user_id = a.user_id AND l.device_id = a.device_id
        )
        AND EXISTS (
            SELECT 1 FROM device_lists_remote_extremeties AS e
            WHERE e.user_id = a.user_id
        )
        AND NOT EXISTS (
            SELECT 1 FROM device_lists_remote_resync AS r WHERE r.user_id = a.user_id
        )
        AND NOT EXISTS (
            SELECT 1 FROM device_lists_remote_cache AS c
            WHERE c.user_id = a.user_id AND c.device_id = a.device_id
        )
        END
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, tuple(part for asker in askers for part in asker))
    return [(user_id, device_id) for user_id, device_id in txn.fetchall()]


def _as_pages(
    mailboxes: Sequence[MailboxKey], found: Sequence[tuple[Any, ...]]
) -> dict[MailboxKey, Page]:
    doomed_up_to = as_dooms(text for kind, *_, text in found if kind == "task")
    rows: dict[int, list[PageRow]] = {}
    for kind, number, stream_id, text in found:
        if kind == "row":
            rows.setdefault(number, []).append((stream_id, text))
    pages = {}
    for number in [number for kind, number, *_ in found if kind == "device"]:
        key = mailboxes[number]
        page = pages[key] = Page.of(rows.get(number, []))
        doomed = doomed_up_to.get(key, 0)
        page.messages[:] = [each for each in page.messages if each[0] > doomed]
    return pages


def as_dooms(tasks: Iterable[str]) -> dict[MailboxKey, int]:
    """Return up to which stream ID deletions of devices are emptying mailboxes."""
    dooms: dict[MailboxKey, int] = {}
    for params in map(json.loads, tasks):
        key = (params["user_id"], params["device_id"])
        dooms[key] = max(dooms.get(key, 0), params["up_to_stream_id"])
    return dooms

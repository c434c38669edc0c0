"""The SQL statements about outboxes: the rows of `device_federation_outbox`.

A mailbox here is that of a device on another server: what waits for it is in the
outbox of that server, an EDU with messages for any number of devices in each row.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Mapping, Sequence

from synapse_withheld.database.sql import (
    Page,
    PageRow,
    Transaction,
    rows_of_pages,
    rows_to_delete,
    text_of_notice,
    tuples,
)
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded


def withheld_read_outboxes(
    txn: Transaction, below: Mapping[MailboxKey, int], texts: Sequence[str]
) -> dict[MailboxKey, Page]:
    """Read a page of each outbox: EDUs of one message that may be a notice.

    What is in one EDU with others is left alone, so nobody needs to know of it.
    Mailboxes of one server share a page, which begins where the first of them asks
    for.
    """
    bounds: dict[str, int] = {}
    for (user_id, _), bound in below.items():
        server = server_of(user_id)
        bounds[server] = max(bound, bounds.get(server, 0))
    pages, parameters = rows_of_pages(
        "device_federation_outbox", ("destination",), "messages_json", bounds.items()
    )
    text, patterns = text_of_notice("p.text", texts)
    sql = f"SELECT p.page, p.stream_id, {text} FROM ({pages}) AS p"  # noqa: S608 as above
    txn.execute(sql, (*patterns, *parameters))
    rows: list[list[PageRow]] = [[] for _ in bounds]
    for number, stream_id, found in txn.fetchall():
        rows[number].append((stream_id, found))
    return _as_pages(below, dict(zip(bounds, map(Page.of, rows))))


def withheld_read_queued_edus(
    txn: Transaction, rows: Sequence[tuple[MailboxKey, int]]
) -> dict[tuple[MailboxKey, int], RowState]:
    """Read what became of rows: queued, or sent, and if the device changed since."""
    sql = f"""
        WITH queued(user_id, device_id, stream_id, destination) AS (
            VALUES {tuples(len(rows), 4)}
        )
        SELECT q.user_id, q.device_id, q.stream_id,
            EXISTS (
                SELECT 1 FROM device_federation_outbox AS e
                WHERE e.destination = q.destination AND e.stream_id = q.stream_id
            ),
            (
                SELECT MAX(l.stream_id) FROM device_lists_stream AS l
                WHERE l.user_id = q.user_id AND l.device_id = q.device_id
            )
        FROM queued AS q
    """  # noqa: S608 only question marks are put in
    named = [(*key, stream_id, server_of(key[0])) for key, stream_id in rows]
    txn.execute(sql, list(chain.from_iterable(named)))
    return {
        ((user_id, device_id), stream_id): RowState(
            bool(there), 0 if there else changed or 0
        )
        for user_id, device_id, stream_id, there, changed in txn.fetchall()
    }


def withheld_delete_superseded_edus(
    txn: Transaction, driver: str, superseded: Sequence[Superseded]
) -> int:
    """Delete EDUs by exact key where the newer one is in the outbox."""
    place = {"destination": "s.destination", "stream_id": "s.stream_id"}
    table = "device_federation_outbox"
    deleted, found, join = rows_to_delete(driver, table, place)
    sql = f"""
        DELETE FROM device_federation_outbox
        WHERE {deleted} IN (
            WITH superseded(destination, stream_id, newer_id)
            AS (VALUES {tuples(len(superseded), 3)})
            SELECT {found} FROM superseded AS s
            {join}
            WHERE EXISTS (
                SELECT 1 FROM device_federation_outbox AS newer
                WHERE newer.destination = s.destination
                    AND newer.stream_id = s.newer_id AND s.newer_id > s.stream_id
            )
        )
    """  # noqa: S608 only question marks are put in
    named = [(server_of(key[0]), older, newer) for key, older, newer in superseded]
    txn.execute(sql, list(chain.from_iterable(named)))
    return txn.rowcount


def _as_pages(
    asked_below: Mapping[MailboxKey, int], read: Mapping[str, Page]
) -> dict[MailboxKey, Page]:
    pages = {}
    for mailbox, bound in asked_below.items():
        of_server = read[server_of(mailbox[0])]
        # Another mailbox of that server may have asked for a page above.
        below = of_server.below and min(of_server.below, bound)
        pages[mailbox] = Page([], of_server.newest_id, below)
    for of_server in read.values():
        for stream_id, edu in of_server.messages:
            key, message = _only_message(edu)
            if key in pages and stream_id < asked_below[key]:
                pages[key].messages.append((stream_id, message))
    return pages


def _only_message(edu: dict[str, Any]) -> tuple[MailboxKey | None, dict[str, Any]]:
    """Return an EDU's message and the mailbox it is for, if it has just one."""
    try:
        ((user_id, by_device),) = edu["messages"].items()
        ((device_id, content),) = by_device.items()
    except (AttributeError, KeyError, ValueError):
        return None, {}
    message = {"type": edu.get("type"), "sender": edu.get("sender"), "content": content}
    return (user_id, device_id), message

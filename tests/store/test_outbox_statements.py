"""Each statement about outboxes says and does what it should, on both databases."""

from __future__ import annotations

import json
from typing import Any

from synapse_withheld.database.outbox import (
    withheld_delete_superseded_edus,
    withheld_read_queued_edus,
)
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from tests.store.conftest import Connection

R: MailboxKey = ("@r:there", "R")
R2: MailboxKey = ("@r:there", "R2")
Q: MailboxKey = ("@q:elsewhere", "Q")
NOTICE = {"code": "m.no_olm"}
WITHHELD = "m.room_key.withheld"


def add_edu(
    database: Connection, stream_id: int, *keys: MailboxKey, **more: Any
) -> None:
    """Queue an EDU with the same notice for some devices of one server."""
    messages: dict[str, dict[str, Any]] = {}
    for user_id, device_id in keys:
        messages.setdefault(user_id, {})[device_id] = {**NOTICE, **more}
    edu = {"messages": messages, "sender": "@s:here", "type": WITHHELD}
    destination = keys[0][0].partition(":")[2]
    row = (destination, stream_id, 0, json.dumps(edu, separators=(",", ":")))
    sql = "INSERT INTO device_federation_outbox VALUES (?, ?, ?, ?, NULL)"
    database.execute(sql, row)


def left(database: Connection, destination: str) -> list[int]:
    """Return the stream IDs of an outbox."""
    sql = "SELECT stream_id FROM device_federation_outbox WHERE destination = ?"
    return sorted(row[0] for row in database.rows(sql, destination))


def test_a_queued_edu_is_told_from_a_sent_one(database: Connection) -> None:
    """A change of the device matters for what was sent."""
    add_edu(database, 5, R)
    add_edu(database, 5, Q)
    for stream_id in (7, 9):
        sql = "INSERT INTO device_lists_stream VALUES (?, ?, ?)"
        database.execute(sql, (stream_id, *R))

    asked = [(R, 5), (R, 6), (Q, 5), (Q, 4)]
    assert {
        (R, 5): RowState(queued=True),
        (R, 6): RowState(queued=False, device_list_id=9),
        (Q, 5): RowState(queued=True),
        (Q, 4): RowState(queued=False),
    } == withheld_read_queued_edus(database, asked)


def test_only_edus_with_a_newer_one_in_the_same_outbox_are_deleted(
    database: Connection,
) -> None:
    """I3: the deletion itself looks for it."""
    for stream_id in (1, 2, 3, 4):
        add_edu(database, stream_id, R)
    add_edu(database, 1, Q)
    add_edu(database, 9, Q)
    rows = [Superseded(R, 1, 2), Superseded(R, 3, 9), Superseded(R, 4, 4)]

    assert 1 == withheld_delete_superseded_edus(database, database.driver, rows)
    assert ([2, 3, 4], [1, 9]) == (left(database, "there"), left(database, "elsewhere"))

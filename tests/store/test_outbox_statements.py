"""Each statement about outboxes says and does what it should, on both databases."""

from __future__ import annotations

import json
from typing import Any

from synapse_withheld.database.outbox import (
    withheld_delete_superseded_edus,
    withheld_read_outboxes,
    withheld_read_queued_edus,
)
from synapse_withheld.database.sql import MOST_ROWS
from synapse_withheld.rules.content import NO_OLM
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


def test_a_reading_tells_what_waits_for_a_device_alone(database: Connection) -> None:
    """Newest first; not what shares an EDU, is for others or is no notice."""
    for stream_id in (1, 3, 2):
        add_edu(database, stream_id, R)
    add_edu(database, 4, R, R2)
    add_edu(database, 5, Q)
    add_edu(database, 6, R, code="m.unavailable")
    add_edu(database, 7, R, reason="x" * 3000)

    readings = withheld_read_outboxes(database, [R, R2], [NO_OLM])

    assert {R, R2} == readings.keys()
    assert [] == readings[R2].messages
    assert [3, 2, 1] == [stream_id for stream_id, _ in readings[R].messages]
    expected = {"sender": "@s:here", "type": WITHHELD, "content": NOTICE}
    assert expected == readings[R].messages[0][1]


def test_a_reading_passes_over_what_it_cannot_read(database: Connection) -> None:
    """Whatever wrote it."""
    sql = "INSERT INTO device_federation_outbox VALUES (?, ?, ?, ?, NULL)"
    for text in ("[]", '{"messages": []}', '{"messages": {"@r:there": []}}', "{", "{}"):
        row = ("there", 1, 0, text.replace("}", ', "m.no_olm": 1}', 1))
        database.execute(sql, row)
    add_edu(database, 2, R)

    assert 1 == len(withheld_read_outboxes(database, [R], [NO_OLM])[R].messages)


def test_a_reading_of_an_outbox_is_bounded(database: Connection) -> None:
    """It looks at the newest rows."""
    for stream_id in range(1, MOST_ROWS + 11):
        add_edu(database, stream_id, R)

    messages = withheld_read_outboxes(database, [R], [NO_OLM])[R].messages
    assert [MOST_ROWS + 10, 11] == [messages[0][0], messages[-1][0]]


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

    assert 1 == withheld_delete_superseded_edus(database, rows)
    assert ([2, 3, 4], [1, 9]) == (left(database, "there"), left(database, "elsewhere"))


def test_every_statement_uses_the_outboxes_index(database: Connection) -> None:
    """With many outboxes, none of them walks the whole table."""
    sql = """
        INSERT INTO device_federation_outbox
        WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000)
        SELECT 'server' || (n - n / 2000 * 2000), n, 0, '{}', NULL FROM c
    """
    database.execute(sql)
    database.execute("ANALYZE")
    keys: list[MailboxKey] = [(f"@u:server{n}", "D") for n in range(20)]
    database.executed.clear()
    withheld_read_outboxes(database, keys, [NO_OLM])
    withheld_read_outboxes(database, keys[:1], [NO_OLM])
    withheld_read_queued_edus(database, [(key, 1) for key in keys])
    withheld_delete_superseded_edus(database, [Superseded(key, 1, 2) for key in keys])

    explain = "EXPLAIN QUERY PLAN" if database.name == "sqlite" else "EXPLAIN"
    walks = ("SCAN o", "SCAN newer", "SCAN device_fed", "Seq Scan on device_federation")
    for statement, parameters in list(database.executed):
        database.execute(f"{explain} {statement}", parameters)
        plan = "\n".join(str(row) for row in database.fetchall())
        assert not [walk for walk in walks if walk in plan], plan
        assert "device_federation_outbox_" in plan

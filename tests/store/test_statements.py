"""Each statement about mailboxes says and does what it should, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synapse_withheld.database.inbox import (
    withheld_delete_superseded,
    withheld_read_mailboxes,
    withheld_read_queued,
)
from synapse_withheld.rules.content import NO_OLM
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from tests.store.conftest import Connection

R: MailboxKey = ("@r:hs", "R")
Q: MailboxKey = ("@q:hs", "Q")
GONE: MailboxKey = ("@r:hs", "GONE")
NOTICE = {"content": {"code": "m.no_olm"}, "type": "m.room_key.withheld"}


def add_device(database: Connection, key: MailboxKey, *, hidden: bool = False) -> None:
    """Add a device."""
    database.execute("INSERT INTO devices VALUES (?, ?, ?)", (*key, hidden))


def add_row(
    database: Connection, key: MailboxKey, stream_id: int, **extra: Any
) -> None:
    """Queue a notice."""
    text = json.dumps({**NOTICE, **extra}, separators=(",", ":"))
    database.execute(
        "INSERT INTO device_inbox VALUES (?, ?, ?, ?)", (*key, stream_id, text)
    )


def add_task(
    database: Connection,
    key: MailboxKey,
    up_to: int,
    *,
    status: str = "active",
    action: str = "delete_device_messages",
) -> None:
    """Schedule the deletion of a device's messages."""
    params = {"user_id": key[0], "device_id": key[1], "up_to_stream_id": up_to}
    text = json.dumps(params, separators=(",", ":"))
    row = (f"{key} {status} {action}", action, status, key[1], text)
    database.execute("INSERT INTO scheduled_tasks VALUES (?, ?, ?, ?, ?)", row)


def left(database: Connection, key: MailboxKey) -> list[int]:
    """Return the stream IDs of a mailbox."""
    sql = "SELECT stream_id FROM device_inbox WHERE user_id = ? AND device_id = ?"
    return sorted(row[0] for row in database.rows(sql, *key))


def test_a_reading_tells_existing_devices_and_their_notices(
    database: Connection,
) -> None:
    """Newest first, without other messages."""
    add_device(database, R)
    add_device(database, Q)
    for stream_id in (3, 1, 2):
        add_row(database, R, stream_id)
    add_row(database, R, 4, content={"code": "m.unavailable"})
    add_row(database, GONE, 5)

    readings = withheld_read_mailboxes(database, [R, Q, GONE], [NO_OLM])

    assert {R, Q} == readings.keys()
    assert [3, 2, 1] == [stream_id for stream_id, _ in readings[R].messages]
    assert readings[R].messages[0][1] == NOTICE
    assert [] == readings[Q].messages


def test_a_reading_leaves_out_what_is_doomed(database: Connection) -> None:
    """Up to the position that the task names, and for that user only."""
    for key in (R, ("@other:hs", "R")):
        add_device(database, key)
        add_row(database, key, 5)
        add_row(database, key, 6)
    add_task(database, R, 5)

    readings = withheld_read_mailboxes(database, [R, ("@other:hs", "R")], [NO_OLM])

    found = {
        key: [stream_id for stream_id, _ in reading.messages]
        for key, reading in readings.items()
    }
    assert {R: [6], ("@other:hs", "R"): [6, 5]} == found


def test_a_row_that_cannot_be_parsed_is_passed_over(database: Connection) -> None:
    """Too long, or too deep for the parser."""
    add_device(database, R)
    add_row(database, R, 1, reason="x" * 3000)
    text = '{"content":{"code":"m.no_olm","x":' + "[" * 1900 + "]" * 10
    database.execute("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", (*R, 2, text))
    add_row(database, R, 3)

    messages = withheld_read_mailboxes(database, [R], [NO_OLM])[R].messages

    assert [3] == [stream_id for stream_id, _ in messages]


def test_a_row_is_told_with_how_its_device_stands(database: Connection) -> None:
    """Remembered or not, the device's last change, whether its reader acknowledges."""
    for key in (R, Q):
        add_device(database, key)
        add_row(database, key, 5)
    for stream_id in (7, 9):
        database.execute(
            "INSERT INTO device_lists_stream VALUES (?, ?, ?)", (stream_id, *R)
        )
    database.execute("INSERT INTO dehydrated_devices VALUES (?, ?)", Q)

    expected = {
        (R, 5): RowState(queued=True, device_list_id=9, never_acknowledged=False),
        (Q, 5): RowState(queued=True, device_list_id=0, never_acknowledged=True),
        (R, 6): RowState(queued=False, device_list_id=9, never_acknowledged=False),
    }
    assert expected == withheld_read_queued(database, [(R, 5), (Q, 5), (R, 6)])


@pytest.mark.parametrize("why", ["no device", "hidden", "doomed"])
def test_nothing_is_told_of_a_row(database: Connection, why: str) -> None:
    """For each of these reasons by itself."""
    add_row(database, R, 5)
    if why != "no device":
        add_device(database, R, hidden=why == "hidden")
    if why == "doomed":
        add_task(database, R, 5, status="scheduled")

    assert {} == withheld_read_queued(database, [(R, 5)])


@pytest.mark.parametrize(
    ("up_to", "status", "action"),
    [
        (4, "active", "delete_device_messages"),
        (9, "complete", "delete_device_messages"),
        (9, "active", "something_else"),
    ],
)
def test_a_task_that_does_not_concern_a_row_leaves_it_queued(
    database: Connection, up_to: int, status: str, action: str
) -> None:
    """Of an earlier time, finished, or another one."""
    add_device(database, R)
    add_row(database, R, 5)
    add_task(database, R, up_to, status=status, action=action)

    assert {(R, 5)} == withheld_read_queued(database, [(R, 5)]).keys()


def test_only_rows_with_a_newer_row_are_deleted(database: Connection) -> None:
    """I3: the deletion itself looks for it."""
    for stream_id in (1, 2, 3, 4):
        add_row(database, R, stream_id)
    rows = [Superseded(R, 1, 2), Superseded(R, 3, 9), Superseded(R, 4, 4)]

    assert 1 == withheld_delete_superseded(database, rows)
    assert [2, 3, 4] == left(database, R)


def test_a_chain_of_superseded_rows_goes_at_once(database: Connection) -> None:
    """Each is judged by what was there before the statement."""
    for stream_id in (1, 2, 3):
        add_row(database, R, stream_id)
    rows = [Superseded(R, 1, 2), Superseded(R, 2, 3)]

    assert 2 == withheld_delete_superseded(database, rows)
    assert [3] == left(database, R)


def test_nothing_is_deleted_under_a_deletion_of_the_device(
    database: Connection,
) -> None:
    """Synapse's loop would end early; a namesake of another user is no reason."""
    other = ("@other:hs", "R")
    for key in (R, other):
        add_row(database, key, 1)
        add_row(database, key, 2)
    add_task(database, R, 1)

    rows = [Superseded(R, 1, 2), Superseded(other, 1, 2)]
    assert 1 == withheld_delete_superseded(database, rows)
    assert ([1, 2], [2]) == (left(database, R), left(database, other))


def test_every_statement_uses_the_mailboxes_index(database: Connection) -> None:
    """With many mailboxes, none of them walks the whole table."""
    count = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
    )
    each = "'@u' || (n - n / 5000 * 5000) || ':hs', 'D'"
    for table, values, rows in (
        ("device_inbox", f"{each}, n, '{{}}'", 200_000),
        ("devices", f"{each}, n < 0", 4999),
        ("device_lists_stream", f"n, {each}", 4999),
    ):
        sql = f"INSERT INTO {table} {count} SELECT {values} FROM c"  # noqa: S608
        database.execute(sql, (rows,))
    database.execute("ANALYZE")
    keys: list[MailboxKey] = [(f"@u{n}:hs", "D") for n in range(20)]
    database.executed.clear()
    withheld_read_mailboxes(database, keys, [NO_OLM])
    withheld_read_queued(database, [(key, 1) for key in keys])
    withheld_delete_superseded(database, [Superseded(key, 1, 2) for key in keys])

    assert_index_is_used(database)


def test_a_mailbox_that_is_all_of_the_table_is_not_walked(database: Connection) -> None:
    """A planner takes the pattern for rare, and all rows for worth a look."""
    count = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
    )
    sql = f"INSERT INTO device_inbox {count} SELECT '@r:hs', 'R', n, '{{}}' FROM c"  # noqa: S608
    database.execute(sql, (100_000,))
    database.execute("ANALYZE")
    database.executed.clear()
    withheld_read_mailboxes(database, [R], [NO_OLM])

    assert_index_is_used(database)


def assert_index_is_used(database: Connection) -> None:
    """Assert that no statement so far walks the mailboxes."""
    explain = "EXPLAIN QUERY PLAN" if database.name == "sqlite" else "EXPLAIN"
    # A planner may well read a small table whole, but not the mailboxes.
    walks = ("SCAN i", "SCAN newer", "SCAN deep", "Seq Scan on device_inbox")
    for sql, parameters in list(database.executed):
        database.execute(f"{explain} {sql}", parameters)
        plan = "\n".join(str(row) for row in database.fetchall())
        assert not [walk for walk in walks if walk in plan], plan
        assert "device_inbox_user_stream_id" in plan or "_stream_id_user_id" in plan

"""Each statement about mailboxes says and does what it should, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synapse_withheld.database.deletions import (
    withheld_delete_superseded,
    withheld_delete_vanished,
)
from synapse_withheld.database.inbox import withheld_read_ends, withheld_read_queued
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


def doomed_beside_a_namesake(database: Connection) -> MailboxKey:
    """Queue two rows for R, which is being deleted, and for another user's R."""
    other = ("@other:hs", "R")
    for key in (R, other):
        add_row(database, key, 1)
        add_row(database, key, 2)
    add_task(database, R, 1)
    return other


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

    assert 1 == withheld_delete_superseded(database, database.driver, rows)
    assert [2, 3, 4] == left(database, R)


def test_a_chain_of_superseded_rows_goes_at_once(database: Connection) -> None:
    """Each is judged by what was there before the statement."""
    for stream_id in (1, 2, 3):
        add_row(database, R, stream_id)
    rows = [Superseded(R, 1, 2), Superseded(R, 2, 3)]

    assert 2 == withheld_delete_superseded(database, database.driver, rows)
    assert [3] == left(database, R)


def test_nothing_is_deleted_under_a_deletion_of_the_device(
    database: Connection,
) -> None:
    """Synapse's loop would end early; a namesake of another user is no reason."""
    other = doomed_beside_a_namesake(database)

    rows = [Superseded(R, 1, 2), Superseded(other, 1, 2)]
    assert 1 == withheld_delete_superseded(database, database.driver, rows)
    assert ([1, 2], [2]) == (left(database, R), left(database, other))


def test_what_vanishes_needs_no_newer_row_but_stays_under_a_deletion(
    database: Connection,
) -> None:
    """By exact key; a namesake of another user is no reason to stay."""
    other = doomed_beside_a_namesake(database)

    rows = [(R, 2), (other, 2), (other, 3)]
    assert 1 == withheld_delete_vanished(database, database.driver, rows)
    assert ([1, 2], [1]) == (left(database, R), left(database, other))


def test_the_ends_of_each_mailbox_are_told(database: Connection) -> None:
    """Of its own rows alone: those of others are beside them in the index."""
    for key in (R, Q):
        add_device(database, key)
    for stream_id in (3, 5, 9):
        add_row(database, R, stream_id)
    add_row(database, Q, 7)
    add_row(database, ("@r:hs", "Q"), 1)
    add_row(database, ("@r:hs", "S"), 11)

    assert {R: (3, 9), Q: (7, 7)} == withheld_read_ends(database, [R, Q])


def test_an_empty_mailbox_has_no_ends(database: Connection) -> None:
    """Which is told from one without a device, or of a hidden one."""
    add_device(database, R)
    add_device(database, Q, hidden=True)
    add_row(database, Q, 3)

    assert {R: (0, 0)} == withheld_read_ends(database, [R, Q, GONE])

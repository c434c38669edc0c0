"""Each statement about mailboxes says and does what it should, on both databases."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from synapse_withheld.database.deletions import (
    withheld_delete_superseded,
    withheld_delete_vanished,
)
from synapse_withheld.database.devices import (
    withheld_read_devices,
    withheld_read_gone,
)
from synapse_withheld.database.inbox import withheld_read_ends, withheld_read_queued
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from tests.store.conftest import Connection

R: MailboxKey = ("@r:hs", "R")
Q: MailboxKey = ("@q:hs", "Q")
GONE: MailboxKey = ("@r:hs", "GONE")
THERE: MailboxKey = ("@s:there", "S")
NOTICE = {"content": {"code": "m.no_olm"}, "type": "m.room_key.withheld"}
DELETION = "delete_device_messages"


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
    action: str = DELETION,
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


@pytest.mark.parametrize(
    ("device", "task", "told"),
    [
        (None, None, False),
        ("hidden", None, False),
        ("there", (5, "scheduled", DELETION), False),
        ("there", (5, "active", DELETION), False),
        ("there", (4, "active", DELETION), True),
        ("there", (9, "complete", DELETION), True),
        ("there", (9, "active", "something_else"), True),
    ],
)
def test_of_which_rows_anything_is_told(
    database: Connection, device: str | None, task: Any, told: bool
) -> None:
    """Their device is there, and no deletion dooms them."""
    add_row(database, R, 5)
    if device is not None:
        add_device(database, R, hidden=device == "hidden")
    if task is not None:
        up_to, status, action = task
        add_task(database, R, up_to, status=status, action=action)

    assert told == bool(withheld_read_queued(database, [(R, 5)]))


def test_only_rows_with_a_newer_row_are_deleted(database: Connection) -> None:
    """I3: the deletion itself looks for it, and a chain goes at once."""
    for stream_id in (1, 2, 3, 4, 5):
        add_row(database, R, stream_id)
    pairs = [(1, 2), (2, 3), (4, 9), (5, 5)]
    rows = [Superseded(R, older, newer) for older, newer in pairs]

    assert 2 == withheld_delete_superseded(database, database.driver, rows)
    assert [3, 4, 5] == left(database, R)


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


# Which devices there are, and which are gone.


def test_devices_are_those_that_messages_reach(database: Connection) -> None:
    """Hidden ones are cross-signing keys."""
    for key in (R, GONE, Q):
        add_device(database, key, hidden=key == GONE)

    assert [R] == withheld_read_devices(database, ["@r:hs", "@nobody:hs"])


def test_of_this_servers_users_every_device_that_is_not_there_is_gone(
    database: Connection,
) -> None:
    """A hidden one is there, too; of a user whom nobody knows nothing is known."""
    database.execute("INSERT INTO users VALUES (?)", ("@r:hs",))
    hidden = ("@r:hs", "HIDDEN")
    add_device(database, R)
    add_device(database, hidden, hidden=True)
    # A namesake of somebody else's device is no device of this user's.
    add_device(database, ("@q:hs", "GONE"))

    assert [GONE] == withheld_read_gone(database, [R, hidden, GONE, ("@x:hs", "X")])


@pytest.mark.parametrize(
    ("announced", "tracked", "stale", "listed"),
    list(itertools.product([True, False], repeat=4)),
)
def test_of_others_what_was_announced_and_is_not_in_a_complete_list_is_gone(
    database: Connection, announced: bool, tracked: bool, stale: bool, listed: bool
) -> None:
    """A request may overtake the announcement of its device."""
    user_id, device_id = THERE
    other = (user_id, "OTHER")
    for key in [THERE, other] if announced else [other]:
        sql = "INSERT INTO device_lists_stream VALUES (1, ?, ?)"
        database.execute(sql, key)
    for user in [user_id, "@t:there"] if tracked else ["@t:there"]:
        sql = "INSERT INTO device_lists_remote_extremeties VALUES (?, '1')"
        database.execute(sql, (user,))
    for user in [user_id, "@u:there"] if stale else ["@u:there"]:
        sql = "INSERT INTO device_lists_remote_resync VALUES (?, 1)"
        database.execute(sql, (user,))
    for key in [THERE, other] if listed else [other, ("@t:there", device_id)]:
        sql = "INSERT INTO device_lists_remote_cache VALUES (?, ?, '{}')"
        database.execute(sql, key)

    is_gone = announced and tracked and not stale and not listed
    assert [THERE] * is_gone == withheld_read_gone(database, [THERE, other])

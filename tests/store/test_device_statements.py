"""Which devices there are, and which are gone, on both databases."""

from __future__ import annotations

import itertools

import pytest

from synapse_withheld.database.devices import (
    withheld_read_devices,
    withheld_read_gone,
)
from synapse_withheld.rules.mailbox import MailboxKey
from tests.store.conftest import Connection
from tests.store.test_statements import GONE, Q, R, add_device

THERE = ("@s:there", "S")


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
    itertools.product([True, False], repeat=4),
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


def test_every_table_is_asked_by_its_index(database: Connection) -> None:
    """However many users and devices there are."""
    count = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
    )
    tables = {
        "users": "'@u' || n || ':hs'",
        "devices": "'@u' || n || ':hs', 'D', n < 0",
        "device_lists_stream": "n, '@u' || n || ':hs', 'D'",
        "device_lists_remote_cache": "'@u' || n || ':hs', 'D', '{}'",
        "device_lists_remote_extremeties": "'@u' || n || ':hs', '1'",
        "device_lists_remote_resync": "'@u' || n || ':hs', n",
    }
    for table, values in tables.items():
        sql = f"INSERT INTO {table} {count} SELECT {values} FROM c"  # noqa: S608
        database.execute(sql, (20_000,))
    database.execute("ANALYZE")
    askers: list[MailboxKey] = [(f"@u{n}:hs", "D") for n in range(20)]
    database.executed.clear()
    withheld_read_gone(database, askers)

    ((sql, parameters),) = database.executed
    explain = "EXPLAIN QUERY PLAN" if database.name == "sqlite" else "EXPLAIN"
    plan = "\n".join(str(row) for row in database.rows(f"{explain} {sql}", *parameters))
    walks = [*(f"SCAN {alias}" for alias in "udlerc"), "Seq Scan"]
    assert not [walk for walk in walks if walk in plan], plan

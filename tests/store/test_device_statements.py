"""Which devices there are, and which are gone, on both databases."""

from __future__ import annotations

import itertools

import pytest

from synapse_withheld.database.devices import (
    withheld_read_devices,
    withheld_read_gone,
)
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

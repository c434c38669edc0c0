"""Each statement says and does what it should, on both databases."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from synapse_withheld.database import deletions, devices, inbox, outbox
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from tests.store.conftest import (
    DELETION,
    ELSEWHERE,
    GONE,
    HIDDEN,
    NAMESAKE,
    REMOTE,
    Connection,
    Q,
    R,
)


def change_device(database: Connection, key: MailboxKey, *stream_ids: int) -> None:
    for stream_id in stream_ids:
        database.add("device_lists_stream", stream_id, *key)


def test_a_row_is_told_with_how_its_device_stands(database: Connection) -> None:
    """Remembered or not, the device's last change, whether its reader acknowledges."""
    database.add_device(R, Q)
    database.put(R, 5)
    database.put(Q, 5)
    change_device(database, R, 7, 9)
    database.add("dehydrated_devices", *Q)

    assert {
        (R, 5): RowState(queued=True, device_list_id=9, never_acknowledged=False),
        (Q, 5): RowState(queued=True, device_list_id=0, never_acknowledged=True),
        (R, 6): RowState(queued=False, device_list_id=9, never_acknowledged=False),
    } == inbox.withheld_read_queued(database, [(R, 5), (Q, 5), (R, 6)])


def test_a_queued_edu_is_told_from_a_sent_one(database: Connection) -> None:
    """A change of the device matters for what was sent."""
    database.put(REMOTE, 5)
    database.put(ELSEWHERE, 5)
    change_device(database, REMOTE, 7, 9)

    asked = [(REMOTE, 5), (REMOTE, 6), (ELSEWHERE, 5), (ELSEWHERE, 4)]
    assert {
        (REMOTE, 5): RowState(queued=True),
        (REMOTE, 6): RowState(queued=False, device_list_id=9),
        (ELSEWHERE, 5): RowState(queued=True),
        (ELSEWHERE, 4): RowState(queued=False),
    } == outbox.withheld_read_queued_edus(database, asked)


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
    database.put(R, 5)
    if device is not None:
        database.add_device(R, hidden=device == "hidden")
    if task is not None:
        database.doom(R, *task)

    assert told == bool(inbox.withheld_read_queued(database, [(R, 5)]))


@pytest.mark.parametrize(
    ("key", "other", "delete"),
    [
        (R, Q, deletions.withheld_delete_superseded),
        (REMOTE, ELSEWHERE, outbox.withheld_delete_superseded_edus),
    ],
)
def test_only_rows_with_a_newer_row_are_deleted(
    database: Connection, key: MailboxKey, other: MailboxKey, delete: Any
) -> None:
    """I3: the deletion itself looks for it there, and a chain goes at once."""
    database.put(key, 1, 2, 3, 4, 5)
    database.put(other, 1, 9)
    pairs = [(1, 2), (2, 3), (4, 9), (5, 5)]
    rows = [Superseded(key, older, newer) for older, newer in pairs]

    assert 2 == delete(database, database.driver, rows)
    assert ([3, 4, 5], [1, 9]) == (database.left(key), database.left(other))


def test_nothing_goes_under_a_deletion_of_its_device(database: Connection) -> None:
    """Synapse's loop would end early; a namesake of another user is no reason.

    What vanishes goes without a newer row, and by exact key.
    """
    database.put(R, 1, 2)
    database.put(NAMESAKE, 1, 2)
    database.doom(R, 1)

    superseded = [Superseded(key, 1, 2) for key in (R, NAMESAKE)]
    assert 1 == deletions.withheld_delete_superseded(
        database, database.driver, superseded
    )
    assert ([1, 2], [2]) == (database.left(R), database.left(NAMESAKE))
    vanished = [(R, 2), (NAMESAKE, 2), (NAMESAKE, 3)]
    assert 1 == deletions.withheld_delete_vanished(database, database.driver, vanished)
    assert ([1, 2], []) == (database.left(R), database.left(NAMESAKE))


def test_the_ends_of_each_mailbox_are_told(database: Connection) -> None:
    """Of its own rows alone: those of others are beside them in the index.

    An empty one is told from one without a device, or of a hidden one.
    """
    empty = ("@r:hs", "EMPTY")
    database.add_device(R, Q, empty)
    database.add_device(HIDDEN, hidden=True)
    for key, stream_ids in (
        (R, (3, 5, 9)),
        (Q, (7,)),
        (("@r:hs", "Q"), (1,)),
        (("@r:hs", "S"), (11,)),
        (HIDDEN, (4,)),
    ):
        database.put(key, *stream_ids)

    told = inbox.withheld_read_ends(database, [R, Q, empty, HIDDEN, GONE])
    assert {R: (3, 9), Q: (7, 7), empty: (0, 0)} == told


def test_devices_are_those_that_messages_reach(database: Connection) -> None:
    """Hidden ones are cross-signing keys."""
    database.add_device(R, Q)
    database.add_device(HIDDEN, hidden=True)

    assert [R] == devices.withheld_read_devices(database, ["@r:hs", "@nobody:hs"])


def test_of_this_servers_users_every_device_that_is_not_there_is_gone(
    database: Connection,
) -> None:
    """A hidden one is there, too; of a user whom nobody knows nothing is known."""
    database.add("users", "@r:hs")
    database.add_device(R)
    database.add_device(HIDDEN, hidden=True)
    # A namesake of somebody else's device is no device of this user's.
    database.add_device(("@q:hs", "GONE"))

    assert [GONE] == devices.withheld_read_gone(
        database, [R, HIDDEN, GONE, ("@x:hs", "X")]
    )


@pytest.mark.parametrize(
    ("announced", "tracked", "stale", "listed"),
    list(itertools.product([True, False], repeat=4)),
)
def test_of_others_what_was_announced_and_is_not_in_a_complete_list_is_gone(
    database: Connection, announced: bool, tracked: bool, stale: bool, listed: bool
) -> None:
    """A request may overtake the announcement of its device; others say nothing."""
    user_id, device_id = REMOTE
    other = (user_id, "OTHER")
    for key in [other] + [REMOTE] * announced:
        change_device(database, key, 1)
    for user in ["@t:there"] + [user_id] * tracked:
        database.add("device_lists_remote_extremeties", user, "1")
    for user in ["@u:there"] + [user_id] * stale:
        database.add("device_lists_remote_resync", user, 1)
    for key in [other, ("@t:there", device_id)] + [REMOTE] * listed:
        database.add("device_lists_remote_cache", *key, "{}")

    is_gone = announced and tracked and not stale and not listed
    assert [REMOTE] * is_gone == devices.withheld_read_gone(database, [REMOTE, other])

"""What is oldest and newest in mailboxes is told, on both databases."""

from __future__ import annotations

from synapse_withheld.database.inbox import withheld_read_ends
from tests.store.conftest import Connection
from tests.store.test_statements import GONE, Q, R, add_device, add_row


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


def test_an_empty_mailbox_has_none(database: Connection) -> None:
    """Which is told from one without a device."""
    add_device(database, R)

    assert {R: (0, 0)} == withheld_read_ends(database, [R, GONE])


def test_nothing_is_told_of_a_hidden_device(database: Connection) -> None:
    """No message reaches it."""
    add_device(database, R, hidden=True)
    add_row(database, R, 3)

    assert {} == withheld_read_ends(database, [R])

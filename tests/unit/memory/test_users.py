"""Recipients, and the numbers of the Olm messages between them and senders."""

from __future__ import annotations

from synapse_withheld.memory.tables.users import Users

RECIPIENT, SENDER, OTHER = "@r:hs", "@s:hs", "@t:hs"


def test_the_number_of_an_olm_message_is_of_its_two_users() -> None:
    """It says nothing of another sender, nor of another recipient."""
    users = Users()
    for sender in (SENDER, OTHER):
        users.hold(RECIPIENT, sender)
    users.hold(OTHER, SENDER)
    assert 1 == users.rearm(RECIPIENT, SENDER, 7)

    assert 7 == users.rearmed(RECIPIENT, SENDER)
    assert 0 == users.rearmed(RECIPIENT, OTHER)
    assert 0 == users.rearmed(OTHER, SENDER)
    assert 0 == users.rearmed("@nobody:hs", SENDER)


def test_no_number_is_kept_of_who_has_nothing_there() -> None:
    """Or whoever sends Olm messages would fill the memory with them."""
    users = Users()
    users.hold(RECIPIENT, SENDER)
    assert 0 == users.rearm(RECIPIENT, OTHER, 7)
    users.hold(RECIPIENT, OTHER)

    assert 0 == users.rearmed(RECIPIENT, OTHER)

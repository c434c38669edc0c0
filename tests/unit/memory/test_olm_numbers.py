"""Olm messages re-arm what was sorted before them, in one step."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.sender import FEW
from synapse_withheld.rules import decision
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.naming import (
    R1,
    R2,
    SENDER,
    learn,
    memory,
    no_olm,
    records,
    request,
    store,
    withheld,
)


def is_rearmed(of: Memory, notice: Notice | None = None) -> bool:
    """Say whether a notice for the first mailbox is stored for that reason."""
    decided = of.believe(R1, notice or no_olm(), 0.0).decision
    assert decided in {decision.REARMED, decision.DUPLICATE}
    return decided is decision.REARMED


def drop(of: Memory, notice: Notice) -> None:
    """Drop what a pair has in the first mailbox: its rows are gone."""
    for record in records(of):
        if record.notice.pair == notice.pair:
            of.drop(R1, record)


def test_an_olm_message_to_the_device_rearms_its_pair() -> None:
    """Of the same sender, with the pair's key, to exactly this device."""
    of = memory()
    of.open(R2, 0)
    store(of, no_olm(), 5)
    assert 0 == of.rearm_device(R1, SENDER, "k2")
    assert 0 == of.rearm_device(R1, "@t:hs", "k1")
    assert 0 == of.rearm_device(R2, SENDER, "k1")
    assert not is_rearmed(of)

    assert 1 == of.rearm_device(R1, SENDER, "k1")
    assert is_rearmed(of)


def test_an_olm_message_between_users_rearms_all_of_them() -> None:
    """Of all devices of the one, from all of the other."""
    of = memory()
    of.open(R2, 0)
    store(of, no_olm(), 5)
    store(of, no_olm("k2", device="B"), 6)
    store(of, no_olm(), 7, R2)
    assert 0 == of.rearm_users(SENDER, R1[0])
    assert 0 == of.rearm_users(R1[0], "@t:hs")

    assert 3 == of.rearm_users(R1[0], SENDER)
    assert is_rearmed(of)
    assert is_rearmed(of, no_olm("k2", device="B"))
    assert decision.REARMED is of.believe(R2, no_olm(), 0.0).decision


def test_what_is_sorted_afterwards_is_news_no_more() -> None:
    """Each new row is told again once."""
    of = memory()
    store(of, no_olm(), 5)
    of.rearm_device(R1, SENDER, "k1")
    of.rearm_users(R1[0], SENDER)
    assert [(5, 6)] == store(of, no_olm(), 6)

    assert not is_rearmed(of)


@pytest.mark.parametrize("to_device", [True, False])
def test_what_is_in_flight_is_rearmed_by_what_passes(
    to_device: bool,
) -> None:
    """Nobody knows which was stored first."""
    of = memory()
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    assert 1 == (
        of.rearm_device(R1, SENDER, "k1")
        if to_device
        else of.rearm_users(R1[0], SENDER)
    )
    of.settle(storing, 5)

    assert is_rearmed(of)


def test_what_is_in_flight_is_rearmed_though_nothing_is_remembered() -> None:
    """Its mailbox may not be, or be forgotten meanwhile."""
    of = memory()
    of.begin(R2, no_olm(), SENDER, 0, 0.0)
    assert 1 == of.rearm_device(R2, SENDER, "k1")
    of.clear()

    assert 1 == of.rearm_users(R2[0], SENDER)


def test_requests_are_not_about_olm_sessions() -> None:
    """Their contents are no keys."""
    of = memory()
    store(of, request(content="k1"), 5)
    of.begin(R1, request(content="k1"), SENDER, 0, 0.0)

    assert 0 == of.rearm_device(R1, SENDER, "k1")


def test_a_sender_with_many_is_rearmed_by_key() -> None:
    """Each key by itself, and in the same way as for few."""
    of = memory()
    for number in range(3 * FEW):
        store(of, no_olm(f"k{number % 3}", device=f"A{number}"), number + 1)
    store(of, withheld(), 99)

    assert FEW + 1 == of.rearm_device(R1, SENDER, "k1")
    assert is_rearmed(of, no_olm("k1", device="A4"))
    assert is_rearmed(of, withheld())
    assert not is_rearmed(of, no_olm("k0", device="A3"))


def test_numbers_are_kept_only_for_what_is_there() -> None:
    """Whoever sends Olm messages fills no memory with them."""
    of = memory()
    store(of, no_olm(), 5)
    for number in range(1000):
        of.rearm_device(R1, SENDER, f"other{number}")
        of.rearm_device(("@q:hs", "D"), SENDER, f"k{number}")
        of.rearm_users(f"@q{number}:hs", SENDER)
        of.rearm_users(R1[0], f"@t{number}:hs")

    mailbox = of.peek(R1)
    assert mailbox is not None
    sender = mailbox.sender(SENDER)
    assert sender is not None
    assert sender._rearmed is None
    assert 1 == len(of._users)
    assert 0 == of._olm.number


def test_a_number_stays_as_long_as_anything_has_its_key() -> None:
    """For few records, and for many."""
    for others in (0, FEW):
        of = memory()
        for number in range(2 + others):
            store(of, no_olm(device=f"A{number}"), number)
        of.rearm_device(R1, SENDER, "k1")
        drop(of, no_olm(device="A0"))

        assert is_rearmed(of, no_olm(device="A1"))


def test_a_number_goes_with_the_last_that_has_its_key() -> None:
    """Whatever else the sender has there, or on its way."""
    of = memory()
    store(of, no_olm(), 5)
    store(of, no_olm("k2", device="B"), 6)
    some = [of.begin(R2, no_olm(key), SENDER, 0, 0.0) for key in ("k1", "k2")]
    for key in (R1, R2):
        of.rearm_device(key, SENDER, "k1")
        of.rearm_device(key, SENDER, "k2")
    drop(of, no_olm())
    of.abandon(some[0])

    mailbox = of.peek(R1)
    sender = mailbox and mailbox.sender(SENDER)
    assert sender
    assert {"k2"} == (sender._rearmed or {}).keys()
    assert {"k2"} == (of._in_flight._flights[R2, SENDER].rearmed or {}).keys()


def test_a_number_between_users_goes_with_the_last_between_them() -> None:
    """Whatever else the recipient has."""
    of = memory()
    store(of, no_olm(), 5)
    store(of, no_olm(sender="@t:hs"), 6)
    for sender in (SENDER, "@t:hs"):
        of.rearm_users(R1[0], sender)
    drop(of, no_olm())

    assert {"@t:hs"} == (of._users._users[R1[0]].rearmed or {}).keys()


def test_a_number_goes_with_the_last_that_it_rearms() -> None:
    """And never begins again: what is sorted before it stays re-armed."""
    of = memory()
    store(of, no_olm(), 5)
    store(of, no_olm("k2", device="B"), 6)
    of.rearm_device(R1, SENDER, "k1")
    of.rearm_users(R1[0], SENDER)
    early = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.rearm_users(R1[0], SENDER)
    drop(of, no_olm())
    drop(of, no_olm(device="B"))
    of.settle(early, 7)

    assert is_rearmed(of)


def test_what_was_never_settled_leaves_no_number() -> None:
    """Once it is over, nothing is between the two."""
    of = memory()
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.rearm_device(R1, SENDER, "k1")
    of.rearm_users(R1[0], SENDER)
    of.abandon(storing)
    of.forget(R1)

    assert 0 == len(of._users)
    assert not of._in_flight._flights
    assert 0 == of.rearm_users(R1[0], SENDER)


def test_what_is_stored_and_what_is_in_flight_count_together() -> None:
    """An Olm message to the device re-arms both, or one of them."""
    of = memory()
    store(of, no_olm(), 5)
    of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.begin(R1, no_olm("k2", device="B"), SENDER, 0, 0.0)

    assert 2 == of.rearm_device(R1, SENDER, "k1")
    assert 1 == of.rearm_device(R1, SENDER, "k2")


def test_only_what_is_in_flight_is_rearmed_where_another_key_is_stored() -> None:
    """The number rises for it all the same."""
    of = memory()
    store(of, no_olm("k2", device="B"), 5)
    storing = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.rearm_device(R1, SENDER, "k1")
    later = of.begin(R1, no_olm(), SENDER, 0, 0.0)
    of.settle(later, 7)
    assert not is_rearmed(of)
    of.settle(storing, 8)

    assert is_rearmed(of)


def test_what_was_found_is_rearmed_by_what_passes_afterwards() -> None:
    """Not by what passed before: nobody knows whether it came before that."""
    of = memory()
    store(of, no_olm("k2", device="B"), 5)
    of.rearm_users(R1[0], SENDER)
    learn(of, (6, no_olm()))
    (found,) = (each for each in records(of) if each.stream_id == 6)
    assert not of._olm.passed_since(found)
    of.rearm_device(R1, SENDER, "k1")

    assert of._olm.passed_since(found)


def test_nothing_passes_between_a_device_and_a_forgotten_mailbox() -> None:
    """Somebody may still have hold of what was in it."""
    of = memory()
    store(of, no_olm(), 5)
    (record,) = records(of)
    of.forget(R1)

    assert not of._olm.passed_since(record)

"""Olm messages re-arm what was sorted before them, in one step.

What they re-arm is told in `tests/unit/delivery/test_traffic.py`.
"""

from __future__ import annotations

import pytest

from synapse_withheld.rules import decision
from tests.unit.memory.known import OTHER, R1, R2, SENDER, Known, no_olm, request


def is_rearmed(of: Known) -> bool:
    decided = of.why()
    assert decided in {decision.REARMED, decision.DUPLICATE}
    return decided is decision.REARMED


@pytest.mark.parametrize("to_device", [True, False])
def test_what_is_in_flight_is_rearmed_by_what_passes(to_device: bool) -> None:
    """Nobody knows which was stored first.

    What is stored counts beside it, and whoever is sorted after it is not re-armed.
    """
    of = Known()
    of.stored(no_olm("k2", device="B"), 5)
    storing = of.begun(no_olm())
    of.begun(no_olm(), R2)
    if to_device:
        assert 1 == of.rearm_device(R1, SENDER, "k1")
    else:
        assert 3 == of.rearm_users(R1[0], SENDER)
    of.stored(no_olm(), 7)
    assert not is_rearmed(of)
    of.settle(storing, 8)

    assert is_rearmed(of)


def test_no_number_is_kept_of_who_has_nothing_there() -> None:
    """Whoever sends Olm messages fills no memory with them.

    Requests are about no Olm sessions: their contents are no keys.
    """
    of = Known()
    of.stored(no_olm(), 5)
    of.stored(request("other"), 6)
    of.begun(no_olm("k2"), R2)
    of.begun(request("other"), R2)
    of.rearm_device(R1, SENDER, "other")
    of.rearm_device(R2, SENDER, "other")
    of.rearm_device(R1, OTHER, "k1")
    of.rearm_device(("@q:hs", "D"), SENDER, "k1")
    of.rearm_users("@q:hs", SENDER)
    of.rearm_users(R1[0], OTHER)

    assert 0 == of._number
    assert not [*of._users._numbers, *of._in_flight.ends._numbers]
    assert of.open(R1, 0)._senders[SENDER]._rearmed is None


def test_a_number_goes_with_the_last_that_it_rearms() -> None:
    """Of the two devices or users, whatever else the sender has.

    None begins again: what was sorted before it stays re-armed.
    """
    of = Known()
    of.stored(no_olm(), 5)
    of.stored(no_olm("k2", device="B"), 6)
    early, other = of.begun(no_olm()), of.begun(no_olm("k2"), R2)
    for key in (R1, R2):
        of.rearm_device(key, SENDER, "k1")
        of.rearm_device(key, SENDER, "k2")
    of.abandon(other)
    of.drop(R1, of.records()[0])
    assert {"k2"} == (of.open(R1, 0)._senders[SENDER]._rearmed or {}).keys()
    assert [(R1, SENDER, "k1")] == [*of._in_flight.ends._numbers]
    of.rearm_users(R1[0], SENDER)
    of.drop(R1, of.records()[0])
    of.settle(early, 7)
    assert is_rearmed(of)
    of.forget(R1)

    assert not [*of._users._numbers, *of._in_flight.ends._numbers]
    assert 0 == len(of._users) == len(list(of._in_flight))


def test_numbers_only_rise() -> None:
    """Whoever they are of: one that began again would pass for an old one."""
    of = Known()
    of.stored(no_olm(), 5)
    for _ in range(3):
        of.rearm_device(R1, SENDER, "k1")
    of.stored(no_olm(), 6)
    of.begun(no_olm(sender=OTHER))
    of.rearm_users(R1[0], OTHER)
    assert not is_rearmed(of)
    of.rearm_device(R1, SENDER, "k1")

    assert is_rearmed(of)

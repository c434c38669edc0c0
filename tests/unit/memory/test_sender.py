"""What one sender has in one mailbox: told alike of few and of many."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.tables.records import Record
from synapse_withheld.memory.tables.sender import FEW, Sender
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.naming import R1, SENDER, no_olm, request, withheld

# As many of each rule that many are more than are looked through one by one.
NUMBERS = pytest.mark.parametrize("number", [2, FEW])


def record(stream_id: int, notice: Notice) -> Record:
    """Return a row of the sender."""
    return Record(stream_id, notice, R1, SENDER, 0)


def having(*notices: Notice) -> Sender:
    """Return a sender who has rows."""
    sender = Sender([record(0, notices[0])])
    for stream_id, notice in enumerate(notices[1:], 1):
        sender.insert(record(stream_id, notice))
    return sender


@NUMBERS
def test_the_records_of_a_rule_are_its_own(number: int) -> None:
    """The oldest first; of a rule that nothing falls under there are none."""
    told = [no_olm(device=f"A{each}") for each in range(number)]
    asked = [request(str(each)) for each in range(number)]
    sender = having(*told, *asked)

    of_rule = sender.of_rule(request().rule.name)
    assert list(range(number, 2 * number)) == [each.stream_id for each in of_rule]
    of_rule = sender.of_rule(no_olm().rule.name)
    assert list(range(number)) == [each.stream_id for each in of_rule]
    assert [] == sender.of_rule(withheld().rule.name)


@NUMBERS
def test_the_records_of_a_key_are_counted(number: int) -> None:
    """Requests are of no key, and of a key that nothing tells of there are none."""
    told = [no_olm("k1", device=f"A{each}") for each in range(number)]
    asked = [request(str(each), "k2") for each in range(number)]
    sender = having(*told, *asked)

    assert number == sender.of_key("k1")
    assert 0 == sender.of_key("k2")
    assert 0 == sender.of_key("k3")


@NUMBERS
def test_each_record_of_a_key_that_goes_is_one_less(number: int) -> None:
    """Down to none."""
    told = [no_olm("k1", device=f"A{each}") for each in range(number)]
    others = [no_olm("k2", device=f"B{each}") for each in range(number)]
    sender = having(*told, *others)
    for left, each in zip(reversed(range(number)), sender.records[:number]):
        sender.remove(each)
        assert left == sender.of_key("k1")

    assert number == sender.of_key("k2")


@NUMBERS
def test_an_olm_message_of_a_key_that_nothing_tells_of_rearms_nothing(
    number: int,
) -> None:
    """Nor is its number kept."""
    sender = having(*(no_olm("k1", device=f"A{each}") for each in range(number + 1)))

    assert 0 == sender.rearm("k2", 7)
    assert number + 1 == sender.rearm("k1", 8)
    assert {"k1": 8} == sender._rearmed

"""The tables that a memory is made of, where whole memories seldom reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.memory.tables.mailbox import ByWho
from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert_into,
    remove_from,
)
from synapse_withheld.memory.tables.sender import FEW, Sender
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.naming import R1, R2, no_olm, request, withheld


def record(stream_id: int, who: str = "a", notice: Notice | None = None) -> Record:
    """Return a record; they are told apart by what they are, not by their row."""
    key = R1 if stream_id % 2 else R2
    return Record(stream_id, notice or no_olm(), key, who, 0)


def test_records_are_ordered_by_age_and_no_name_is_kept_without_any() -> None:
    of: dict[str, ByAge] = {}
    some = [record(stream_id) for stream_id in (3, 1, 2, 4)]
    for each in some:
        insert_into(of, "a", each)
    assert [1, 2, 3, 4] == [each.stream_id for each in of["a"]]
    for each in some:
        remove_from(of, "a", each)

    assert {} == of


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_who_has_most_is_known_whatever_comes_and_goes(
    changes: list[tuple[str, bool]],
) -> None:
    by_who = ByWho([])
    naive: dict[str, ByAge] = {who: [] for who in "abcd"}
    for number, (who, comes) in enumerate(changes):
        if comes:
            naive[who].append(record(number, who))
            by_who.insert(naive[who][-1])
        elif naive[who]:
            by_who.remove(naive[who].pop(0))
        assert all(naive[each] == list(by_who.of(each)) for each in naive)
        most = max(map(len, naive.values()))
        if most:
            assert most == len(by_who.of_most())


def test_of_those_who_have_equally_much_the_one_goes_who_has_for_longest() -> None:
    """So that those who come last do not only push out each other."""
    some = [record(number, who) for number, who in enumerate("aaabb", 1)]
    by_who = ByWho([*some, record(6, "c")])
    assert "a" == by_who.of_most()[0].who
    by_who.remove(some[0])

    assert "b" == by_who.of_most()[0].who


# As many of each rule that many are more than are looked through one by one.
@pytest.mark.parametrize("number", [2, FEW])
def test_what_one_sender_has_is_told_alike_of_few_and_of_many(number: int) -> None:
    """By rule, the oldest first, and by key; requests are of no key."""
    told = [no_olm("k1", device=f"A{each}") for each in range(number)]
    others = [no_olm("k2", device=f"B{each}") for each in range(number)]
    asked = [request("k3", str(each)) for each in range(number)]
    some = [record(n, notice=each) for n, each in enumerate([*told, *others, *asked])]
    sender = Sender([some[0]])
    for each in some[1:]:
        sender.insert(each)

    assert some[: 2 * number] == sender.of_rule(told[0].rule)
    assert some[2 * number :] == sender.of_rule(asked[0].rule)
    assert [] == sender.of_rule(withheld().rule)
    assert [number, number, 0, 0] == [
        sender.of_key(f"k{each}") for each in (1, 2, 3, 4)
    ]
    assert 0 == sender.rearm("k3", 7)
    assert number == sender.rearm("k1", 8)
    for left in reversed(range(number)):
        assert {"k1": 8} == sender._rearmed
        sender.remove(some[number - 1 - left])
        assert [left, number] == [sender.of_key(key) for key in ("k1", "k2")]
    for each in some[number:]:
        sender.remove(each)
    assert {} == sender._rearmed

"""Records by age, and who holds most of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.memory.tables.holders import Holders
from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert,
    insert_into,
    remove,
    remove_from,
)
from tests.unit.memory.naming import R1, R2, no_olm


def record(stream_id: int, who: str = "a") -> Record:
    """Return a record; they are told apart by what they are, not by their row."""
    return Record(stream_id, no_olm(), R1 if stream_id % 2 else R2, who, 0)


def test_records_are_ordered_by_age() -> None:
    """However they come."""
    records: ByAge = []
    for stream_id in (3, 1, 2, 4):
        insert(records, record(stream_id))

    assert [1, 2, 3, 4] == [each.stream_id for each in records]


def test_exactly_the_record_that_is_meant_goes() -> None:
    """One request writes rows with one stream ID into many mailboxes."""
    records: ByAge = []
    some = [record(5) for _ in range(20)]
    for each in some:
        insert(records, each)
    for each in reversed(some):
        remove(records, each)
        assert each not in records

    assert not records


def test_names_without_records_are_not_kept() -> None:
    """Many come and go."""
    of: dict[str, ByAge] = {}
    first, second = record(1), record(2)
    insert_into(of, "a", second)
    insert_into(of, "a", first)
    assert {"a": [first, second]} == of
    remove_from(of, "a", first)
    remove_from(of, "a", second)

    assert {} == of


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_who_holds_most_is_known_whatever_comes_and_goes(
    changes: list[tuple[str, bool]],
) -> None:
    """As if all were counted each time."""
    holders = Holders([])
    naive: dict[str, ByAge] = {who: [] for who in "abcd"}
    for number, (who, comes) in enumerate(changes):
        if comes:
            naive[who].append(record(number, who))
            holders.insert(naive[who][-1])
        elif naive[who]:
            holders.remove(naive[who].pop(0))
        assert all(naive[each] == list(holders.of(each)) for each in naive)
        most = max(map(len, naive.values()))
        if most:
            assert most == len(holders.of_most())


def test_of_those_who_hold_equally_much_the_one_goes_who_has_for_longest() -> None:
    """So that those who come last do not only push out each other."""
    holders = Holders([record(1, "a"), record(2, "b"), record(3, "c")])

    assert "a" == holders.of_most()[0].who


def test_who_gives_up_some_holds_as_much_as_others_from_then_on() -> None:
    """What was held before does not count."""
    records = [record(1, "a"), record(2, "a"), record(3, "a")]
    holders = Holders([*records, record(4, "b"), record(5, "b")])
    assert "a" == holders.of_most()[0].who
    holders.remove(records[0])

    assert "b" == holders.of_most()[0].who

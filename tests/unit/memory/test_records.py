"""A packed table says what a plain dictionary says."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar

import attrs
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.memory.records import Table

MOST = (1 << 64) - 1
# Few places, so that records share them, and the bounds.
places = st.integers(0, 5) | st.sampled_from([MOST - 1, MOST])
keys = st.tuples(places, st.integers(0, 2))


@attrs.define(eq=False)
class Wide(Table):
    """Records of a place, another word, and two halves of a third."""

    layout: ClassVar[Struct] = Struct("QQII")


def records_of(table: Table) -> list[tuple[int, ...]]:
    """Return all records in order."""
    return [table.get(position) for position in range(table.count)]


def filled(*records: tuple[int, ...]) -> Wide:
    """Return a table with some records."""
    table = Wide()
    for each in records:
        table.insert(each)
    return table


@given(st.lists(st.tuples(st.sampled_from("rxp"), keys, st.integers(0, 9))))
def test_it_holds_what_a_dictionary_holds(
    steps: list[tuple[str, tuple[int, int], int]],
) -> None:
    """Whatever is put, replaced and removed, at the same or at other places."""
    table, plain = Wide(), dict[tuple[int, int], tuple[int, int]]()
    for step, key, number in steps:
        position = table.find(*key)
        assert (position is None) == (key not in plain)
        if step == "x" and position is not None:
            table.remove(position)
            del plain[key]
        elif step != "x" and position is None:
            table.insert((*key, number, 7))
            plain[key] = (number, 7)
        elif position is not None:
            table.put(position, (*key, 9, number))
            plain[key] = (9, number)
        assert sorted((*key, *rest) for key, rest in plain.items()) == sorted(
            records_of(table)
        )
        in_order = [each[0] for each in records_of(table)]
        assert sorted(in_order) == in_order


@given(st.sets(places), places, places)
def test_positions_are_those_of_a_sorted_list(
    stored: set[int], start: int, stop: int
) -> None:
    """Of a place that is there or not, and of several."""
    table = filled(*((each, 0, 0, 0) for each in stored))

    assert sum(each < start for each in stored) == table.position(start)
    assert any(start <= each < stop for each in stored) == table.any_at(
        range(start, stop)
    )


def test_at_a_place_the_first_record_is_found_without_a_second_word() -> None:
    """Where one word tells records apart, there is only one at each place."""
    table = filled((1, 5, 0, 0), (2, 6, 0, 0), (3, 7, 0, 0))

    assert [None, 0, 1, 2, None] == [table.find(place) for place in range(5)]
    assert Wide().find(1) is None


def test_a_column_is_one_word_of_some_records() -> None:
    """Of a range of positions."""
    table = filled((1, 5, 0, 0), (2, 6, 0, 0), (3, 7, 0, 0), (4, 8, 0, 0))

    assert [6, 7] == list(table.column(1, range(1, 3)))
    assert [1, 2, 3, 4] == list(table.column(0, range(4)))
    assert [] == list(table.column(1, range(2, 2)))


def test_what_is_removed_gives_its_memory_back() -> None:
    """A table that was once full does not stay large."""
    table = filled(*((place, 0, 0, 0) for place in range(1000)))
    full = table._data.__sizeof__()
    while table.count > 10:
        table.remove(table.count // 2)

    assert full > 20 * table._data.__sizeof__()

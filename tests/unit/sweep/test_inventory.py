"""Adding up rows by kind, and the longest mailboxes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.sweep.inventory import (
    MOST_KINDS,
    OTHERS,
    Inventory,
    Line,
    Long,
    Sums,
)
from synapse_withheld.sweep.kinds import Kind


def counted(lines: list[Line], limit: int = 10, batch: int = 3) -> Inventory:
    made = Inventory(limit)
    for start in range(0, len(lines), batch):
        made.add(lines[start : start + batch])
    made.end()
    return made


def of(name: str, **kinds: int) -> list[Line]:
    return [
        ((name,), Kind(kind), 10) for kind, rows in kinds.items() for _ in range(rows)
    ]


def test_a_hundred_messages_are_a_sync() -> None:
    syncs = {rows: Long(("x",), rows, ()).syncs for rows in (1, 100, 101, 250)}
    assert {1: 1, 100: 1, 101: 2, 250: 3} == syncs


NAMES = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4), min_size=1)
)


@given(NAMES, st.integers(1, 4), st.integers(1, 5))
def test_it_is_what_plain_counting_says(
    names: list[dict[str, int]], limit: int, batch: int
) -> None:
    lines = [each for n, kinds in enumerate(names) for each in of(str(n), **kinds)]
    made = counted(lines, limit, batch)
    assert len(names) == made.names
    rows = Counter(kind for _, kind, _ in lines)
    assert rows == {kind: sums.rows for kind, sums in made.kinds.sums.items()}
    assert Sums(len(lines), 10 * len(lines)) == made.kinds.total
    lengths = sorted((sum(kinds.values()) for kinds in names), reverse=True)
    assert lengths[:limit] == [each.rows for each in made.longest]


def test_invented_types_take_no_memory() -> None:
    """What is beyond the bound is counted together."""
    lines: list[Line] = [(("x",), Kind(f"t{n}"), 1) for n in range(3 * MOST_KINDS)]
    made = counted(lines)
    assert MOST_KINDS + 1 >= len(made.kinds.sums)
    assert 2 * MOST_KINDS == made.kinds.sums[OTHERS].rows
    assert 3 * MOST_KINDS == made.kinds.total.rows

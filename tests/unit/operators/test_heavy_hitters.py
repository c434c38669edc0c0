"""The sketch of who occurs most often, against counting all."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.operators.heavy_hitters import Count, HeavyHitters

# Some often, some rarely.
KEYS = st.one_of(st.sampled_from("ab"), st.sampled_from("cdefghij"), st.text("xyz"))


# Of a thousand all are counted exactly, as on most servers.
@given(st.lists(KEYS, max_size=200), st.integers(1, 8) | st.just(1000))
def test_the_true_number_is_within_the_error_and_that_within_its_bound(
    occurrences: list[str], capacity: int
) -> None:
    sketch: HeavyHitters[str] = HeavyHitters(capacity)
    for each in occurrences:
        sketch.add(each)
    true = Counter(occurrences)
    counted = sketch.most(capacity)

    assert len(occurrences) == sketch.total
    assert min(capacity, len(true)) == len(counted)
    for count in counted:
        assert count.occurred - count.error <= true[count.key] <= count.occurred
        assert count.error <= len(occurrences) / capacity
    missing = true.keys() - {each.key for each in counted}
    assert all(true[key] <= len(occurrences) / capacity for key in missing)


def test_the_most_certain_come_first() -> None:
    """One that came last and may have come before is not ahead of a regular."""
    sketch: HeavyHitters[str] = HeavyHitters(2)
    for each in "aaabbbbc":
        sketch.add(each)

    # Of c it is known only that it came once, and at most four times.
    assert [Count("b", 4, 0), Count("c", 4, 3)] == sketch.most(2)
    assert [Count("b", 4, 0)] == sketch.most(1)

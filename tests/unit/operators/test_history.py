"""Counts per minute of the last hour, with a clock of their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from synapse_withheld.operators.history import STEP_S, STEPS, History


@given(st.lists(st.integers(0, 4000), max_size=30), st.integers(0, 4000))
def test_each_event_is_in_its_minute_until_an_hour_has_passed(
    waits: list[int], rest: int
) -> None:
    """However long nothing happens in between; an hour of nothing comes first."""
    clock = Clock()
    clock.advance(1_000_000)
    history = History(clock.seconds)
    happened = []
    for wait in waits:
        clock.advance(wait)
        history.add("collapse")
        happened.append(clock.seconds())
    clock.advance(rest)

    first = clock.seconds() // STEP_S - STEPS + 1
    expected = [0] * STEPS
    for when in happened:
        if when // STEP_S >= first:
            expected[int(when // STEP_S - first)] += 1
    assert expected == history.of("collapse")
    assert [0] * STEPS == history.of("deliver")
    assert first * STEP_S == clock.seconds() - history.began_s()

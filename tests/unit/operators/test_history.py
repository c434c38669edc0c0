"""Counts per minute of the last hour, with a clock of their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.operators.history import STEP_S, STEPS, History


class Clock:
    """A clock that a test moves."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def seconds(self) -> float:
        return self.now_s


def test_an_hour_of_nothing_comes_first() -> None:
    """Those who ask at once get as many minutes as later."""
    assert [0] * STEPS == History(Clock().seconds).of("collapse")


@given(st.lists(st.integers(0, 4000), max_size=30), st.integers(0, 4000))
def test_each_event_is_in_its_minute_until_an_hour_has_passed(
    waits: list[int], rest: int
) -> None:
    """However long nothing happens in between."""
    clock = Clock()
    history = History(clock.seconds)
    happened = []
    for wait in waits:
        clock.now_s += wait
        history.add("collapse")
        happened.append(clock.now_s)
    clock.now_s += rest

    first = clock.now_s // STEP_S - STEPS + 1
    expected = [0] * STEPS
    for when in happened:
        if when // STEP_S >= first:
            expected[int(when // STEP_S - first)] += 1
    assert expected == history.of("collapse")
    assert [0] * STEPS == history.of("deliver")
    assert first * STEP_S == clock.now_s - history.began_s()

"""A little of the fuzzing that `make fuzz` does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.target import put_through


@settings(max_examples=2000, deadline=None)
@given(st.randoms(use_true_random=False))
def test_nothing_that_is_sent_makes_the_module_fail_or_lose_a_message(
    chance: random.Random,
) -> None:
    """Neither an exception, caught or not, nor a message that is no notice."""
    put_through(chance)


def test_a_lost_message_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that takes any repeat for a duplicate is caught."""
    monkeypatch.setattr(
        "synapse_withheld.delivery.settling.without",
        lambda messages, _: type(messages)(),
    )

    chances = map(random.Random, range(1000))
    with pytest.raises(AssertionError):
        list(map(put_through, chances))

"""A little of the fuzzing that `make fuzz` does, and all inputs that ever failed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
TARGET = Target()


@settings(max_examples=2000)
@given(st.binary(max_size=96))
def test_nothing_that_is_sent_makes_the_module_fail_or_lose_a_message(
    data: bytes,
) -> None:
    """Neither an exception, caught or not, nor a message that is no notice."""
    TARGET.run(data)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_failed_once_fails_no_more(file: Path) -> None:
    """Each input that fuzzing ever found."""
    TARGET.run(file.read_bytes())


def test_a_lost_message_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that takes any repeat for a duplicate is caught."""
    monkeypatch.setattr(
        "synapse_withheld.delivery.settling.without",
        lambda messages, _: type(messages)(),
    )
    chance = random.Random(1)  # noqa: S311 the same each time
    inputs = [chance.randbytes(96) for _ in range(1000)]

    with pytest.raises(AssertionError):
        list(map(Target().run, inputs))

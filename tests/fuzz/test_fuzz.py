"""A little of the fuzzing that `make fuzz` does, and all inputs that ever failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import requests
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


def test_inputs_reach_notices_olm_messages_and_odd_types() -> None:
    """Else they would say nothing about the rule."""
    made = [each for number in range(3000) for each in requests(_bytes(number))]
    types = [each.message_type for each in made]
    assert types.count("m.room_key.withheld") > 500
    assert types.count("m.room.encrypted") > 100
    assert any(isinstance(each, list) for each in types)
    assert any(each.outward for each in made)
    assert any(each.origin for each in made)


def test_a_lost_message_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that takes any repeat for a duplicate is caught."""
    monkeypatch.setattr(
        "synapse_withheld.delivery.settling.without",
        lambda messages, _: type(messages)(),
    )
    target = Target()

    with pytest.raises(AssertionError):
        all(target.run(_bytes(number)) for number in range(1000))


def _bytes(number: int) -> bytes:
    """Return bytes that look like chance, and are the same each time."""
    return b"".join(
        (number * factor % 2**64).to_bytes(8, "big")
        for factor in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9) * 4
    )

"""Whatever of the module raises, messages are stored, in order, and it goes on."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest

from tests.model.play import ENCRYPTED, NEW_KEY, NOTICE, OLM, Play

THIRD_KEY = {**NOTICE, "sender_key": "third"}


def break_down(patch: pytest.MonkeyPatch, play: Play, *methods: str) -> None:
    """Have methods of parts of the module raise."""

    def raises(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    for method in methods:
        path, _, name = method.rpartition(".")
        part = attrgetter(path)(play.traffic)
        own = name in getattr(part, "__dict__", ())
        patch.setattr(part if own else type(part), name, raises)


@pytest.mark.parametrize("content", [NOTICE, NEW_KEY], ids=["duplicate", "new key"])
@pytest.mark.parametrize(
    "methods",
    [
        ("metrics.confirmed_in",),
        ("metrics.decided_in",),
        ("metrics.decision",),
        ("metrics.failure", "inbox.sort"),
        ("inbox.sort",),
        ("inbox.memory.insert",),
        ("inbox.memory.learn",),
        ("settler.settle",),
        ("settler.believe_again", "settler.forget"),
        ("settler.believe_again",),
        ("settler.take_out",),
        ("confirmer.add",),
        ("confirmer.release",),
    ],
    ids="+".join,
)
def test_what_raises_loses_no_message_and_leaves_nothing_in_flight(
    monkeypatch: pytest.MonkeyPatch, methods: tuple[str, ...], content: Any
) -> None:
    play = Play()
    play.send(NOTICE)
    with monkeypatch.context() as patch:
        break_down(patch, play, *methods)
        batch = play.begin(content)
        play.hs.come_to_rest()
    assert batch.ended is not None
    assert batch.stream_id or content == NOTICE

    play.send(THIRD_KEY)
    # What could not even be forgotten may stay in flight, and is believed no more.
    assert play.send(THIRD_KEY).left_out or "settler.forget" in methods


@pytest.mark.parametrize("method", ["rearming.passed", "inbox.sort"])
def test_what_raises_overtakes_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    play = Play()
    play.send(NOTICE)
    waits = play.begin(NOTICE)
    break_down(monkeypatch, play, method)
    later = play.begin(OLM, message_type=ENCRYPTED)
    if later.handed is None:
        later = play.begin(NEW_KEY)
    assert [waits, later] == play.handed_on[1:]


def test_a_duplicate_that_cannot_wait_passes_none_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play()
    other = {**NOTICE, "from_device": "S2"}
    play.send(NOTICE)
    play.send(other)
    waits = play.begin(NOTICE)
    with monkeypatch.context() as patch:
        break_down(patch, play, "confirmer.add")
        assert [waits, play.begin(other)] == play.handed_on[2:]

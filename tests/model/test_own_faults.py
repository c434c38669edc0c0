"""Whatever of the module raises, messages are stored, in order, and it goes on."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import Any
from unittest import mock

import pytest

from synapse_withheld.delivery import settling
from synapse_withheld.memory.memory import Mailbox
from tests.model.play import ENCRYPTED, NEW_KEY, NOTICE, OLM, Play

MANY = [f"D{number}" for number in range(300)]
THIRD_KEY = {**NOTICE, "sender_key": "third"}
OTHER = {**NOTICE, "from_device": "S2"}


def break_down(patch: pytest.MonkeyPatch, play: Play, *methods: str) -> None:
    """Have methods of parts of the module raise."""
    for method in methods:
        path, _, name = method.rpartition(".")
        part = attrgetter(path)(play.traffic)
        own = name in getattr(part, "__dict__", ())
        raises = mock.Mock(side_effect=ZeroDivisionError)
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
    play.send(NOTICE)
    play.send(OTHER)
    waits = play.begin(NOTICE)
    with monkeypatch.context() as patch:
        break_down(patch, play, "confirmer.add")
        assert [waits, play.begin(OTHER)] == play.handed_on[2:]


@pytest.mark.parametrize("devices", [MANY[:2], MANY[:12]])
def test_where_learning_one_fails_the_others_are_learned_all_the_same(
    monkeypatch: pytest.MonkeyPatch, devices: list[str]
) -> None:
    """It is forgotten: of what it holds not all may be remembered."""
    play = Play(devices=devices)
    learn, fails = play.memory.learn, {devices[0]}

    def fail(mailbox: Mailbox, *args: Any, **kwargs: Any) -> Any:
        if mailbox.key[1] in fails:
            raise ZeroDivisionError
        return learn(mailbox, *args, **kwargs)

    monkeypatch.setattr(play.memory, "learn", fail)
    play.send(NOTICE, devices)
    assert [False] + [True] * len(devices[1:]) == [play.knows(each) for each in devices]

    fails.clear()
    play.send(NOTICE, devices)
    assert all(play.knows(each) for each in devices)


# What a request with much in it would make the module do over and over.


def test_a_message_for_all_has_all_others_doubted_in_one_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When it is sorted, and once it is stored: not for each device by itself."""
    play = Play(devices=MANY)
    play.send(NOTICE, MANY[:150])
    play.send(NOTICE, MANY[150:])
    doubt = mock.Mock(wraps=play.memory.doubt)
    monkeypatch.setattr(play.memory, "doubt", doubt)
    play.send(NOTICE, "*")
    assert doubt.call_count == 3
    assert all(play.queued(device) == [3] for device in MANY)


def test_a_notice_for_many_devices_is_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: Counter[int] = Counter()
    monkeypatch.setattr(
        settling,
        "stored_size",
        lambda message: encoded.update([id(message["content"])]) or 1,
    )
    play = Play(devices=MANY[:250])
    for _ in range(2):
        play.send(NOTICE, MANY[:250])
    assert [1] == [*encoded.values()]

"""The plays that the design was walked through with, before it was written."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
from tests.model.messages import request
from tests.model.play import (
    CONFIRM,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    SCOPED,
    SENDER,
    Play,
)
from tests.model.redundancy import ACTIONS

FROM_THERE: dict[str, Any] = {"sender": "@s:there", "edu": ("there", "1")}


@pytest.mark.parametrize(
    "kind", ["m.room_key.withheld", "org.matrix.room_key.withheld"]
)
def test_a_duplicate_collapses_after_one_question(kind: str) -> None:
    """Older clients send the older type, alone or beside the stable one."""
    play = Play()
    play.send(NOTICE, message_type=kind)
    duplicate = play.begin({**NOTICE, "reason": "again"}, message_type=kind)
    assert [CONFIRM] == play.hs.come_to_rest()

    assert duplicate.left_out
    assert [1] == play.queued()


def test_an_old_key_after_a_new_one_that_waits_ends_up_newest() -> None:
    """Beside the new one wait duplicates for many others."""
    play = Play()
    others = [(f"@u{number}:here", "U") for number in range(249)]
    for other in others:
        play.hs.add_device(*other)
    play.begin_all({(RECIPIENT, "R"): NOTICE, **dict.fromkeys(others, NOTICE)})
    play.hs.come_to_rest()
    new = {(RECIPIENT, "R"): NEW_KEY, **dict.fromkeys(others, NOTICE)}
    mixed = play.begin_all(new)
    assert mixed.waited
    old = play.begin(NOTICE)

    assert [mixed, old] == play.handed_on[1:]
    play.hs.come_to_rest()
    assert [NOTICE] == play.contents()


def test_a_repeated_edu_writes_no_row_and_deletes_none() -> None:
    """It collapses; after a restart it is handed on, and a stream ID comes back."""
    play = Play()
    play.send(NOTICE, **FROM_THERE)
    assert play.send(NOTICE, **FROM_THERE).left_out
    play.load()
    again = play.begin(NOTICE, **FROM_THERE)
    assert "withheld_delete_superseded" not in play.hs.come_to_rest()

    assert set() == again.left_out
    assert [1] == play.queued()
    play.send(NOTICE, sender="@s:there")
    assert [4] == play.queued()


@pytest.mark.parametrize(("first", "left"), [(NOTICE, [2]), (SCOPED, [1, 2])])
def test_the_first_notice_after_a_restart_finds_an_old_copy(
    first: Any, left: list[int]
) -> None:
    """It is stored at once; one that names a session leaves what says more."""
    play = Play()
    play.send(NOTICE)
    play.load()
    assert not play.begin(first).waited
    play.hs.come_to_rest()
    assert left == play.queued()

    play.send(first)
    assert left == play.queued()
    play.send(NOTICE)
    assert 1 == len(play.queued())


def test_an_olm_message_of_the_sender_releases_what_waits() -> None:
    """The notice is stored just before it."""
    play = Play()
    play.send(NOTICE)
    notice = play.begin(NOTICE)
    olm = play.begin(OLM, message_type=ENCRYPTED)

    assert [notice, olm] == play.handed_on[1:]
    play.hs.come_to_rest()
    assert [2, 3] == play.queued()
    play.send(NOTICE)
    assert [3, 4] == play.queued()


def test_an_olm_message_of_the_recipient_rearms_what_waits() -> None:
    """The answer of the database comes too late to let it collapse."""
    play = Play()
    play.send(NOTICE)
    notice = play.begin(NOTICE)
    play.begin(OLM, "S1", message_type=ENCRYPTED, sender=RECIPIENT, to_user=SENDER)
    assert notice.handed is None
    play.hs.answer(play.step(CONFIRM))

    assert set() == notice.left_out
    assert notice.handed is not None
    play.hs.come_to_rest()
    assert [3] == play.queued()


def test_a_wildcard_beside_a_device_is_a_device_of_that_name() -> None:
    """It goes on with the other, or not at all."""
    play = Play(devices=["R", "R2"])
    play.send(NOTICE, ["*", "R"])
    assert ([1], []) == (play.queued(), play.queued("R2"))

    both = play.send(NOTICE, ["*", "R"])
    assert set() == both.left_out
    assert ([2], []) == (play.queued(), play.queued("R2"))


def test_a_wildcard_in_flight_while_a_mailbox_is_opened_is_learned() -> None:
    """The mailbox was not open when it was sorted, so nothing of it is believed."""
    play = Play()
    everybody = play.begin(NEW_KEY, "*")
    play.begin(NOTICE)
    assert [everybody] == play.handed_on[:1]
    play.hs.come_to_rest()
    # The newer one was seen arriving.
    assert [2] == play.queued()

    play.load()
    play.begin(NEW_KEY, "*")
    play.begin(NEW_KEY)
    play.hs.come_to_rest()
    assert [4] == play.queued()


@pytest.mark.parametrize("opened_again", [False, True])
def test_a_mailbox_evicted_while_its_notice_is_stored_is_learned(
    opened_again: bool,
) -> None:
    """The notice does not settle in a mailbox that somebody else opened."""
    play = Play(max_pairs=1000)
    play.fill("R", [NOTICE])
    play.begin(NOTICE)
    # One by himself would push out nobody.
    for part in range(11):
        devices = [f"{part} {number}" for number in range(100)]
        for device in devices:
            play.hs.add_device(RECIPIENT, device)
        play.begin(NOTICE, devices, sender=f"@other{part}:here")
        for _ in range(2):
            play.hs.answer([step for step in play.hs.steps if not step.is_ours][-1])
    assert play.memory.get((RECIPIENT, "R")) is None
    if opened_again:
        play.begin(NOTICE)
    play.hs.come_to_rest()

    assert 1 == len(play.queued())
    play.send(NOTICE)
    assert 1 == len(play.queued())


def test_of_two_keys_that_were_found_both_stay() -> None:
    """One may be a spoof; a third that is seen arriving takes all of them."""
    play = Play()
    play.fill("R", [NOTICE, NEW_KEY])
    play.send(SCOPED, sender="@t:here")
    assert [1, 2, 3] == play.queued()

    play.send({**NOTICE, "sender_key": "newest"})
    assert [3, 4] == play.queued()


@pytest.mark.parametrize("at_once", [False, True])
def test_of_request_cancel_request_cancel_the_last_stays(at_once: bool) -> None:
    """One after the other, or all on their way at the same time."""
    play = Play(rules=RulesConfig(key_requests=True))
    left: list[list[int]] = []
    for action in ACTIONS * 2:
        play.begin_each(request("m.room_key_request", action, "1", "session"))
        if not at_once:
            play.hs.come_to_rest()
            left.append(play.queued())
    play.hs.come_to_rest()

    assert [4] == play.queued()
    assert at_once or left == [[1], [2], [2, 3], [4]]


@pytest.mark.parametrize("sees_reads", [False, True])
def test_with_repeat_session_a_delivered_notice_stands_for_later_ones(
    sees_reads: bool,
) -> None:
    """In one process, where the read was seen, as with workers."""
    play = Play(repeat="session", sees_reads=sees_reads)
    play.send(NOTICE)
    play.read()
    again = play.send(NOTICE)
    assert again.waited
    assert [1] == play.queued()
    play.sync()
    play.send(NOTICE)
    assert [] == play.queued()

    play.send(OLM, message_type=ENCRYPTED)
    play.send(NOTICE)
    assert 2 == len(play.queued())


def test_a_device_that_long_polls_is_told_at_once() -> None:
    """What it was handed is not asked about; it gets each notice that comes."""
    play = Play(sees_reads=True)
    for number in range(1, 4):
        notice = play.begin(NOTICE)
        assert not notice.waited
        play.hs.come_to_rest()
        assert [number] == play.queued()
        # The sync that waited acknowledges what it was given before, and waits again.
        play.sync()

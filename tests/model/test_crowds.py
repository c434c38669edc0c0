"""Nobody's many names, mailboxes or messages push out or hold up what is of others."""

from __future__ import annotations

from unittest import mock

import pytest
from twisted.python.failure import Failure

from synapse_withheld.config import RulesConfig
from synapse_withheld.rules.content import MAX_ID_LENGTH
from synapse_withheld.rules.identifiers import MAX_NAME_LENGTH
from tests.model.faults import LostError
from tests.model.play import (
    NEW_KEY,
    NOTICE,
    SESSION,
    Play,
)

STRANGER = "@e:there"


def test_long_names_are_stored_and_not_remembered() -> None:
    play = Play()
    play.send_abroad(NOTICE, "A" * (MAX_NAME_LENGTH + 1))
    play.send(NOTICE, "R", sender=f"@{'e' * 255}:there")
    assert play.traffic.outbox.memory.pairs == play.memory.pairs == 0
    assert len(play.traffic.outbox.memory) == 0
    assert len(play.outbox()) == len(play.queued()) == 1


def test_the_longest_names_that_there_are_are_remembered() -> None:
    device, sender = "A" * MAX_NAME_LENGTH, f"@{'e' * 248}:there"
    assert len(sender) == MAX_ID_LENGTH
    play = Play(devices=[device])
    play.send(NOTICE, device, sender=sender)
    assert play.send(NOTICE, device, sender=sender).left_out


def test_a_repeated_edu_leaves_no_mailboxes_behind() -> None:
    play = Play()
    edu = ("there", "one")
    for number in range(2):
        invented = [f"invented {number} {device}" for device in range(5)]
        play.send(NOTICE, invented, sender=STRANGER, edu=edu)
    assert len(play.memory) == 0


def test_mailboxes_that_lost_all_their_records_are_forgotten() -> None:
    play = Play(max_pairs=1000)
    for number in range(3):
        invented = [f"invented {number} {device}" for device in range(200)]
        play.send_abroad(NOTICE, invented)
    memory = play.traffic.outbox.memory
    assert len(memory) == memory.pairs == 100


def test_a_duplicate_that_is_stored_for_a_large_batch_passes_none_that_waits() -> None:
    play = Play()
    other = {**NOTICE, "from_device": "S2"}
    play.send(NOTICE)
    play.send(other)
    waits = play.begin(NOTICE)
    play.begin(NEW_KEY, [f"D{number}" for number in range(300)], to_user="@q:here")
    play.step("store").hangs = True
    assert waits.handed is None
    play.begin(other)
    assert waits.handed is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(NOTICE, NEW_KEY, id="another key"),
        pytest.param(SESSION, {**SESSION, "code": "m.blacklisted"}, id="another code"),
    ],
)
def test_what_all_devices_abroad_were_told_is_the_last_word(
    old: dict[str, str], new: dict[str, str]
) -> None:
    play = Play(rules=RulesConfig(withheld=True))
    play.send_abroad(old)
    play.send_abroad(new, "*")
    assert not play.send_abroad(old).left_out


@pytest.mark.parametrize("fails", [False, True])
def test_what_nobody_looked_at_is_in_doubt_in_a_mailbox_opened_meanwhile(
    *, fails: bool
) -> None:
    """Also where it is not known whether it was stored."""
    play = Play()
    batch = play.begin(NEW_KEY, ["R", *(f"D{number}" for number in range(300))])
    big = play.step("store")
    big.hangs = True
    play.begin(NOTICE, sender="@other:here")
    play.hs.come_to_rest()
    assert play.knows()
    big.hangs = False
    if fails:
        play.hs.answer(big, LostError(), carried_out=True)
        batch.answer.addErrback(Failure.trap, LostError)
    play.hs.come_to_rest()
    assert not play.knows()


def test_a_message_for_all_has_all_others_doubted_in_one_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When it is sorted, and once it is stored: not for each device by itself."""
    devices = [f"D{number}" for number in range(300)]
    play = Play(devices=devices)
    play.send(NOTICE, devices[:150])
    play.send(NOTICE, devices[150:])
    doubt = mock.Mock(wraps=play.memory.doubt)
    monkeypatch.setattr(play.memory, "doubt", doubt)
    play.send(NOTICE, "*")
    assert doubt.call_count == 3
    assert all(play.queued(device) == [3] for device in devices)

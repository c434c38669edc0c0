"""What reviews of the design found and random plays do not reach."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from twisted.python.failure import Failure

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery import settling
from tests.model.client import KEY_REQUEST, TRACING
from tests.model.faults import LostError
from tests.model.messages import request
from tests.model.play import (
    CONFIRM,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    Play,
)

MANY = [f"invented {number}" for number in range(1000)]


def test_a_row_doomed_by_a_task_does_not_count_as_queued() -> None:
    """The notice is stored beside it, and the task finds its rows untouched."""
    play = Play()
    play.send(NOTICE)
    play.hs.doom(RECIPIENT, "R", 1)

    play.send(NOTICE)
    assert [1, 2] == play.queued()
    play.send(NOTICE)
    assert [1, 2] == play.queued()
    play.load()
    play.send(NOTICE)
    assert [1, 2, 3] == play.queued()


def test_a_reader_that_never_acknowledges_gets_the_newest() -> None:
    """Application services and dehydrated devices."""
    play = Play()
    play.send(NOTICE)
    play.hs.service_users.add(RECIPIENT)
    play.send(NOTICE)
    assert [2] == play.queued()

    play.hs.service_users.clear()
    play.hs.rows("INSERT INTO dehydrated_devices VALUES (?, ?)", RECIPIENT, "R")
    play.send(NOTICE)
    assert [3] == play.queued()


@pytest.mark.parametrize("after_a_wait", [False, True])
def test_a_failed_write_is_passed_on_and_its_mailboxes_are_forgotten(
    after_a_wait: bool,
) -> None:
    """Nobody knows whether its rows are there; others are remembered as before."""
    play = Play(devices=["R", "R2", "R3"])
    play.send(NOTICE, ["R", "R3"])
    batch = play.begin(NOTICE if after_a_wait else NEW_KEY, ["R", "R2"])
    if after_a_wait:
        play.hs.answer(play.step(CONFIRM))
    play.hs.answer(play.step("store"), LostError())
    batch.answer.addErrback(Failure.trap, LostError)

    assert [False, True] == [play.knows(device) for device in ("R", "R3")]
    play.send(NOTICE, ["R", "R2"])
    assert [1, 1] == [len(play.queued(device)) for device in ("R", "R2")]


@pytest.mark.parametrize("broken", ["device_list_id", "settle"])
def test_whatever_fails_the_batch_is_stored_and_its_mailbox_learned_again(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The batch succeeds; the next notice finds what was left."""
    play = Play()
    play.send(NOTICE)
    part: object = play.memory if broken == "settle" else play.traffic.inbox
    with monkeypatch.context() as patched:
        patched.setattr(part, broken, lambda *_, **__: 1 // 0)
        play.send(NEW_KEY)
    assert [1, 2] == play.queued()
    assert not play.knows()

    play.send(NEW_KEY)
    assert [3] == play.queued()


def test_poisoned_device_ids_reach_no_statement() -> None:
    """They are passed on, and the others in their batch are still decided about."""
    play = Play()
    play.send(NOTICE)
    batch = play.begin(NOTICE, ["R", "\0", "\ud800"])
    assert [CONFIRM] == play.steps()
    play.hs.take_step()

    assert {(RECIPIENT, "R")} == batch.left_out


def test_who_asks_under_a_poisoned_name_keeps_no_mailbox_from_being_learned() -> None:
    """No statement asks whether such a device is gone, and the sweep stops at none."""
    play = Play(devices=["R", "R2"], rules=RulesConfig(key_requests=True))
    _, asked = request(KEY_REQUEST, "request", "1", "session")
    poisoned = [{**asked, "requesting_device_id": each} for each in ("\0", "\ud83d")]
    play.fill("R", poisoned, type=KEY_REQUEST)
    play.send_each((KEY_REQUEST, asked), to=["R", "R2"])

    assert play.knows()
    assert play.knows("R2")
    assert [] == play.failures


def test_a_cancellation_takes_all_copies_of_its_request() -> None:
    """Those that only tracing tells apart, too, before a restart and after."""
    play = Play(rules=RulesConfig(key_requests=True))
    _, asked = request(KEY_REQUEST, "request", "1", "session")
    traced = [{**asked, TRACING: str(number)} for number in range(8)]
    play.fill("R", traced[:5], type=KEY_REQUEST)
    play.begin_each(*[(KEY_REQUEST, each) for each in traced[5:]])
    play.send_each(request(KEY_REQUEST, "request_cancellation", "1", ""))

    assert [9] == play.queued()


def test_one_request_to_many_devices_makes_few_statements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each names many rows; and a huge notice is encoded once."""
    encoded: Counter[int] = Counter()

    def stored_size(message: Any) -> int:
        encoded[id(message["content"])] += 1
        return 1

    monkeypatch.setattr(settling, "stored_size", stored_size)
    devices = [f"R{number}" for number in range(250)]
    play = Play(devices=devices)
    play.send(NOTICE, devices)
    play.begin({**NOTICE, "reason": "x" * 100_000}, devices)
    assert [CONFIRM] * 2 == play.hs.come_to_rest()
    assert [1] == list(encoded.values())
    play.begin(NEW_KEY, devices)
    asked = play.hs.come_to_rest()
    assert {"withheld_delete_superseded"} == set(asked)
    # The first one does not wait for others.
    assert 8 >= len(asked)


# Requests with so many messages that nobody looks at all of them.


def test_a_notice_for_many_invented_users_waits_for_nothing() -> None:
    """It opens none of their mailboxes, and switches nothing off."""
    play = Play()
    play.send(NOTICE, sender="@honest:here")
    invented = {(f"@u{number}:here", "*"): NOTICE for number in range(20_000)}
    assert not play.begin_all(invented).waited
    duplicate = play.begin(NOTICE, sender="@honest:here")
    assert [CONFIRM] == [step.name for step in play.hs.ours()]
    play.hs.answer(play.step(CONFIRM))

    assert duplicate.left_out
    assert 1 == len(play.memory)


@pytest.mark.parametrize("device", ["R", "*"])
def test_nothing_older_is_believed_after_what_nobody_looked_at(device: str) -> None:
    """It may say something else; of other senders everything collapses as before."""
    play = Play()
    play.send(NOTICE, sender="@other:here")
    play.send(NOTICE)
    play.begin_all({(RECIPIENT, each): NEW_KEY for each in [*MANY, device]})
    play.hs.come_to_rest()

    assert not play.send(NOTICE).left_out
    assert play.send(NOTICE, sender="@other:here").left_out


def test_what_was_settled_meanwhile_is_not_believed_either() -> None:
    """It may have been stored before what nobody looked at."""
    play = Play()
    play.begin(NEW_KEY, [*MANY, "R"])
    play.hs.steps[0].hangs = True
    play.send(NOTICE)
    play.hs.steps[0].hangs = False
    play.hs.come_to_rest()

    assert not play.send(NOTICE).left_out


def test_ordinary_messages_have_no_such_limit() -> None:
    """An Olm message re-arms, wherever it stands."""
    play = Play()
    play.send(NOTICE)
    play.send(OLM, [*MANY, "R"], message_type=ENCRYPTED)

    assert not play.send(NOTICE).left_out

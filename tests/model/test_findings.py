"""What reviews of the design found, each with the sequence that shows it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.failure import Failure

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery import settling
from tests.model.faults import LostError, lost
from tests.model.play import (
    CONFIRM,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    SCOPED,
    SESSION,
    WITHHELD,
    Play,
)


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


def test_a_task_for_somebody_elses_device_dooms_nothing() -> None:
    """Device IDs are not unique across users."""
    play = Play()
    play.send(NOTICE)
    play.hs.doom("@other:here", "R", 9)

    play.send(NOTICE)
    assert [1] == play.queued()
    play.send({**NOTICE, "sender_key": "new"})
    assert [2] == play.queued()


def test_a_device_that_changed_gets_the_notice_again() -> None:
    """It may have been deleted and made again, before the task is to be seen."""
    play = Play()
    play.send(NOTICE)
    play.hs.change_device(RECIPIENT, "R")
    play.send(NOTICE)
    assert [2] == play.queued()

    play.send(NOTICE)
    assert [2] == play.queued()


def test_a_device_id_that_looks_like_a_key_is_another_device() -> None:
    """The two identities never meet."""
    play = Play()
    by_key = {**NOTICE, "sender_key": "K"}
    del by_key["from_device"]
    play.send(by_key)
    play.send({**NOTICE, "sender_key": "K", "from_device": "K"})

    assert [1, 2] == play.queued()


def test_another_session_of_the_account_can_supersede_a_notice() -> None:
    """The sender chooses `from_device`; only its own account's notices are affected."""
    play = Play()
    play.send(NOTICE)
    play.send({**NOTICE, "sender_key": "another session's key"})
    assert [2] == play.queued()

    play.send({**NOTICE, "sender_key": "forged"}, sender="@mallory:here")
    assert [2, 3] == play.queued()


def test_a_spoofed_sender_neither_collapses_nor_rearms() -> None:
    """What a server says of another server's users is left alone."""
    play = Play()
    # The sweep cannot know.
    play.is_tidy = False
    play.send(NOTICE, sender="@s:there", edu=("there", "1"))
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "2"))
    assert [1, 2] == play.queued()

    spoofed = {"sender": "@s:there", "edu": ("elsewhere", "3")}
    play.send(OLM, message_type="m.room.encrypted", **spoofed)
    play.send(NOTICE, sender="@s:there", edu=("there", "4"))
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


def test_an_olm_message_to_all_devices_rearms_each() -> None:
    """A wildcard stands for all of them."""
    play = Play()
    play.send(NOTICE)
    play.send(OLM, "*", message_type="m.room.encrypted")
    play.send(NOTICE)

    assert [2, 3] == play.queued()


def test_a_type_that_is_no_string_is_stored_and_read_past() -> None:
    """Another server may send one; it must neither fail nor stop a reading."""
    play = Play()
    strange: Any = ["m.room_key.withheld"]
    for number in range(3):
        edu = {"sender": "@s:there", "edu": ("there", str(number))}
        play.send(NOTICE, message_type=strange, **edu)
    play.send(NOTICE)
    play.send(NOTICE)

    assert [1, 2, 3, 4] == play.queued()


def test_a_row_that_was_rolled_back_supersedes_nothing() -> None:
    """The deletion itself looks for the newer row, and the mailbox is learned again."""
    play = Play()
    play.send(NOTICE)
    request = play.begin(NEW_KEY)
    play.hs.take_step()
    # The rows vanish although they were observed, as after a retried transaction.
    play.hs.rows("DELETE FROM device_inbox WHERE stream_id = 2")
    play.hs.come_to_rest()

    assert request.ended is not None
    assert [1] == play.queued()
    play.send(NEW_KEY)
    assert [3] == play.queued()


def test_a_failed_write_forgets_its_mailboxes_and_no_others() -> None:
    """Nobody knows whether its rows are there; Synapse's error is passed on."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    request = play.begin(NEW_KEY)
    play.hs.take_step(error=lost())
    request.answer.addErrback(Failure.trap, LostError)

    assert [False, True] == [play.knows(device) for device in ("R", "R2")]
    play.send(NEW_KEY)
    assert [3] == play.queued()


def test_a_failed_write_after_a_wait_is_passed_on_too() -> None:
    """Of a batch of which one part waited for an answer."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE)
    request = play.begin(NOTICE, ["R", "R2"])
    play.hs.answer(play.step(CONFIRM))
    play.hs.answer(play.step("store"), lost())
    request.answer.addErrback(Failure.trap, LostError)

    play.send(NOTICE, ["R", "R2"])
    assert [1, 1] == [len(play.queued(device)) for device in ("R", "R2")]


def test_poisoned_device_ids_reach_no_statement() -> None:
    """They are passed on, and the others in their batch are still decided about."""
    play = Play()
    play.send(NOTICE)
    request = play.begin(NOTICE, ["R", "\0", "\ud800"])
    assert [CONFIRM] == play.steps()
    play.hs.take_step()

    assert {(RECIPIENT, "R")} == request.left_out
    assert ["store"] == play.steps()


def test_an_olm_message_that_is_stored_late_rearms_what_was_sorted_meanwhile() -> None:
    """Its position may be lower or higher than the notice's."""
    play = Play()
    play.send({**NOTICE, "from_device": "another"})
    olm = play.begin(OLM, message_type=ENCRYPTED)
    notice = play.begin(NOTICE)
    while notice.ended is None:
        play.hs.take_step(-1)
    assert olm.ended is None
    play.hs.come_to_rest()

    play.send(NOTICE)
    assert [1, 2, 4] == play.queued()


def test_an_olm_message_rearms_what_is_in_flight() -> None:
    """Whether or not its mailbox is remembered."""
    play = Play()
    notice = play.begin(NOTICE)
    play.begin(OLM, message_type=ENCRYPTED)
    while notice.ended is None:
        play.hs.take_step()
    again = play.begin(NOTICE)
    play.hs.come_to_rest()

    assert not again.waited
    assert [2, 3] == play.queued()


@pytest.mark.parametrize("sessions", [150, 1200])
def test_many_withheld_sessions_do_not_push_out_the_plain_notice(sessions: int) -> None:
    """Each rule has its own room."""
    play = Play(rules=RulesConfig(withheld=True))
    play.is_tidy = sessions < 1000
    play.send(NOTICE)
    for number in range(sessions):
        play.begin({**SESSION, "session_id": f"{number}"})
        play.hs.take_all_steps()
    duplicate = play.send(NOTICE)

    assert duplicate.left_out


def test_a_cancellation_takes_all_copies_of_its_request() -> None:
    """Those that only tracing tells apart, too, before a restart and after."""
    play = Play(rules=RulesConfig(key_requests=True))
    request = {"requesting_device_id": "S1", "request_id": "1", "action": "request"}
    for number in range(5):
        traced = {**request, "org.matrix.msgid": str(number)}
        play.fill("R", [traced], type="m.room_key_request")
    for number in range(3):
        traced = {**request, "org.matrix.msgid": f"seen {number}"}
        play.begin(traced, message_type="m.room_key_request")
    cancellation = {**request, "action": "request_cancellation"}
    play.send(cancellation, message_type="m.room_key_request")

    assert [9] == play.queued()


def test_cancellations_do_not_pile_up() -> None:
    """Of requests for keys; those of verifications all stay."""
    play = Play(rules=RulesConfig(key_requests=True, verification_requests=True))
    taken_back = {
        "requesting_device_id": "S1",
        "request_id": "1",
        "action": "request_cancellation",
    }
    for _ in range(3):
        play.send(taken_back, message_type="m.room_key_request")
    for _ in range(2):
        cancel = {"transaction_id": "1"}
        play.send(cancel, message_type="m.key.verification.cancel")

    assert [3, 4, 5] == play.queued()


def test_an_expired_request_to_verify_leaves_its_cancellation() -> None:
    """It may close a verification that a lone `start` opened."""
    play = Play(rules=RulesConfig(verification_requests=True))
    request = {"transaction_id": "1", "from_device": "S1", "timestamp": 0}
    play.fill("R", [request], type="m.key.verification.request")
    play.hs.clock.advance(10 * 86_400)
    cancel = {"transaction_id": "1"}
    play.fill("R", [cancel], type="m.key.verification.cancel")
    play.send(
        {**request, "transaction_id": "2"}, message_type="m.key.verification.cancel"
    )

    assert [2, 3] == play.queued()


def test_a_request_of_a_device_that_is_gone_goes_and_its_cancellation_stays() -> None:
    """It becomes stale by itself, which learning finds."""
    play = Play(rules=RulesConfig(key_requests=True))
    play.hs.register("@s:here")
    request = {"requesting_device_id": "S1", "request_id": "1", "action": "request"}
    play.fill("R", [request], type="m.room_key_request")
    cancellation = {**request, "request_id": "2", "action": "request_cancellation"}
    play.fill("R", [cancellation], type="m.room_key_request")
    play.send({**cancellation, "request_id": "3"}, message_type="m.room_key_request")

    assert [2, 3] == play.queued()


def test_a_huge_notice_to_many_devices_is_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What its rows would have taken is counted from that."""
    encoded = []
    stored_size = settling.stored_size

    def note(message: dict[str, Any]) -> int:
        encoded.append(message)
        return stored_size(message)

    monkeypatch.setattr(settling, "stored_size", note)
    play = Play()
    devices = [f"D{number}" for number in range(250)]
    for device in devices:
        play.hs.add_device(RECIPIENT, device)
    play.send(NOTICE, devices)
    play.send({**NOTICE, "reason": "x" * 100_000}, devices)

    assert 1 == len(encoded)


def test_a_monstrous_notice_costs_no_more_than_a_small_one() -> None:
    """Only the keys that the rule needs are looked at; the rest is Synapse's."""
    play = Play()
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    play.send({**NOTICE, "reason": "x" * 5_000_000})
    request = play.send({**NOTICE, "reason": nested})

    assert request.left_out
    assert [1] == play.queued()


def test_one_request_to_many_devices_makes_few_statements() -> None:
    """Look-ups and deletions name many rows each."""
    play = Play()
    devices = [f"R{number}" for number in range(250)]
    for device in devices:
        play.hs.add_device(RECIPIENT, device)
    play.send(NOTICE, devices)
    play.begin(NOTICE, devices)
    assert [CONFIRM] * 2 == play.hs.come_to_rest()
    play.begin(NEW_KEY, devices)
    asked = play.hs.come_to_rest()
    assert {"withheld_delete_superseded"} == set(asked)
    # The first one does not wait for others.
    assert 8 >= len(asked)


def test_what_was_deleted_for_what_a_client_reads_names_no_session() -> None:
    """A notice for everything never goes for one that names a session."""
    play = Play()
    play.fill("R", [NOTICE])
    play.send(SCOPED)
    play.load()
    play.send({**SCOPED, "session_id": "another"})

    assert [1, 3] == play.queued()


def test_a_notice_for_many_invented_users_waits_for_nothing() -> None:
    """It opens none of their mailboxes, and switches nothing off."""
    play = Play()
    play.send(NOTICE, sender="@honest:here")
    invented = {(f"@u{number}:here", "*"): NOTICE for number in range(20_000)}
    flood = play.begin_all(invented)
    assert not flood.waited
    duplicate = play.begin(NOTICE, sender="@honest:here")
    assert [CONFIRM] == [step.name for step in play.hs.ours()]
    play.hs.answer(play.step(CONFIRM))

    assert duplicate.left_out
    assert 1 == len(play.memory)


def test_a_device_that_is_called_like_a_wildcard_stands_for_itself() -> None:
    """What it has says nothing about the other devices."""
    play = Play()
    play.hs.add_device(RECIPIENT, "*")
    play.send(NOTICE, ["*", "GONE"])
    assert ([], [1]) == (play.queued(), play.queued("*"))

    play.send(NOTICE, "*")
    assert ([2], [2]) == (play.queued(), play.queued("*"))


def test_a_notice_after_an_acknowledged_one_is_stored_and_nothing_deleted() -> None:
    """What was read needs no tidying."""
    play = Play()
    play.send(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.begin(NOTICE)

    assert [CONFIRM] == play.hs.come_to_rest()
    assert [2] == play.queued()


def test_whatever_fails_in_sorting_the_batch_is_stored() -> None:
    """And its mailboxes are learned again with the next notice."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    inbox = play.traffic.inbox
    working, inbox.device_list_id = inbox.device_list_id, lambda: 1 // 0
    play.send(NEW_KEY)
    assert [1, 2] == play.queued()
    assert [False, True] == [play.knows(device) for device in ("R", "R2")]

    inbox.device_list_id = working
    play.send(NEW_KEY)
    assert [3] == play.queued()


def test_whatever_fails_in_settling_nothing_is_believed_any_more() -> None:
    """The request succeeds; the next notice has its mailbox learned."""
    play = Play()
    play.send(NOTICE)
    settle, play.memory.settle = play.memory.settle, lambda *_, **__: 1 // 0  # type: ignore[assignment, method-assign]
    play.send(NEW_KEY)
    assert [1, 2] == play.queued()
    assert 0 == len(play.memory)

    play.memory.settle = settle  # type: ignore[method-assign]
    play.send(NEW_KEY)
    assert [3] == play.queued()


def test_a_row_that_is_no_message_is_read_past() -> None:
    """Whatever lies in the mailbox."""
    play = Play()
    for text in ("[]", "no JSON", '{"type":"m.room_key.withheld"}'):
        play.hs.insert_message((RECIPIENT, "R"), play.hs.next_stream_id, text)
        play.hs.next_stream_id += 1
    play.fill("R", [NOTICE], type=WITHHELD)
    request = play.begin(NOTICE)
    play.hs.come_to_rest()

    assert request.ended is not None
    assert 4 == len(play.hs.rows("SELECT 1 FROM device_inbox"))

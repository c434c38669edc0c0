"""The plays that the design was walked through with, before it was written."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
from tests.model.door import Batch
from tests.model.play import (
    ABROAD,
    CONFIRM,
    CONFIRM_ABROAD,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    SCOPED,
    SENDER,
    Play,
)

REQUESTS = RulesConfig(key_requests=True)
EDU: dict[str, Any] = {"sender": "@s:there", "edu": ("there", "1")}


def key_request(action: str) -> dict[str, Any]:
    """Return the content of a request for a room key, or of its cancellation."""
    return {"action": action, "requesting_device_id": "S1", "request_id": "1"}


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

    assert [mixed, old] == play.door.handed_on[1:]
    play.hs.come_to_rest()
    assert [3] == play.queued()
    assert [NOTICE] == play.contents()


def test_a_new_key_for_one_and_duplicates_for_many_cost_one_row() -> None:
    """The batch is written once, without what many others have already."""
    play = Play()
    others = [(f"@u{number}:here", "U") for number in range(249)]
    for other in others:
        play.hs.add_device(*other)
    play.begin_all({(RECIPIENT, "R"): NOTICE, **dict.fromkeys(others, NOTICE)})
    play.hs.come_to_rest()
    new = {(RECIPIENT, "R"): NEW_KEY, **dict.fromkeys(others, NOTICE)}
    mixed = play.begin_all(new)
    play.hs.come_to_rest()

    assert set(others) == mixed.left_out
    assert [2] == play.queued()


def test_a_repeated_edu_collapses_and_is_received_once() -> None:
    """Nothing is left of it but its message ID."""
    play = Play()
    play.send(NOTICE, **EDU)
    again = play.send(NOTICE, **EDU)

    assert {(RECIPIENT, "R")} == again.left_out
    assert [1] == play.queued()


def test_a_repeated_edu_after_a_restart_deletes_nothing() -> None:
    """It is handed on and writes no row, though a stream ID comes back."""
    play = Play()
    play.send(NOTICE, **EDU)
    play.load()
    again = play.begin(NOTICE, **EDU)
    assert not again.waited
    asked = play.hs.come_to_rest()

    assert "withheld_delete_superseded" not in asked
    assert set() == again.left_out
    assert [1] == play.queued()
    play.send(NOTICE, sender="@s:there", edu=("there", "2"))
    assert [3] == play.queued()


def test_an_edu_that_is_repeated_while_it_is_stored_writes_one_row() -> None:
    """The federation receiver repeats a call that broke off."""
    play = Play()
    both = [play.begin(NOTICE, **EDU) for _ in range(2)]
    play.hs.come_to_rest()

    assert [False, False] == [batch.waited for batch in both]
    assert [1] == play.queued()


def test_an_edu_repeated_with_another_key_is_not_taken_for_stored() -> None:
    """No row was written of it, so nothing of the pair is redundant."""
    play = Play()
    play.send(NOTICE, **EDU)
    play.send(NEW_KEY, **EDU)
    assert [1] == play.queued()

    play.send(NOTICE, sender="@s:there", edu=("there", "2"))
    assert [1] == play.queued()


def test_the_first_notice_after_a_restart_supersedes_an_old_copy() -> None:
    """It is stored at once, and the old copy found afterwards."""
    play = Play()
    play.send(NOTICE)
    play.load()
    first = play.begin(NOTICE)
    assert not first.waited
    play.hs.come_to_rest()
    assert [2] == play.queued()

    play.send(NOTICE)
    assert [2] == play.queued()


def test_the_first_scoped_notice_after_a_restart_leaves_an_unscoped_one() -> None:
    """That one says more; the next unscoped one supersedes both."""
    play = Play()
    play.send(NOTICE)
    play.load()
    play.send(SCOPED)
    assert [1, 2] == play.queued()
    play.send(SCOPED)
    assert [1, 2] == play.queued()

    play.send(NOTICE)
    assert [3] == play.queued()


def test_a_scoped_notice_never_supersedes_an_unscoped_one() -> None:
    """Neither after an Olm message nor while both are on their way."""
    play = Play()
    play.send(NOTICE)
    play.send(OLM, message_type=ENCRYPTED)
    play.send(SCOPED)
    assert [1, 2, 3] == play.queued()

    play.sync()
    play.begin(NOTICE)
    play.begin(SCOPED)
    play.hs.come_to_rest()
    assert [4, 5] == play.queued()


def test_an_olm_message_of_the_sender_releases_what_waits() -> None:
    """The notice is stored just before it."""
    play = Play()
    play.send(NOTICE)
    notice = play.begin(NOTICE)
    olm = play.begin(OLM, message_type=ENCRYPTED)

    assert [notice, olm] == play.door.handed_on[1:]
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


def test_an_olm_message_counts_for_what_was_answered_and_waits_for_the_rest() -> None:
    """Of a batch that waits for two answers, the first one is out of date by then."""
    play = Play()
    play.send(NOTICE)
    play.send_abroad(NOTICE)
    local, remote = play.door.batches
    both = Batch(SENDER, local.message_type, local.local, remote.edus)
    play.door.begin(play.traffic, both)
    play.hs.answer(play.step(CONFIRM))
    play.begin(OLM, "S1", message_type=ENCRYPTED, sender=RECIPIENT, to_user=SENDER)
    play.hs.answer(play.step(CONFIRM_ABROAD))

    assert {(ABROAD, "A")} == both.left_out


def test_a_wildcard_beside_a_device_is_a_device_of_that_name() -> None:
    """It goes on with the other, or not at all."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
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
    assert [everybody] == play.door.handed_on[:1]
    play.hs.come_to_rest()
    # The newer one was seen arriving.
    assert [2] == play.queued()

    play.load()
    play.begin(NEW_KEY, "*")
    play.begin(NEW_KEY)
    play.hs.come_to_rest()
    assert [4] == play.queued()


def test_a_wildcard_that_is_stored_last_supersedes_what_was_stored_meanwhile() -> None:
    """It settles in the mailboxes that were open when it came."""
    play = Play()
    play.send(NOTICE)
    play.begin({**NOTICE, "reason": "first"}, "*")
    play.begin(NEW_KEY)
    while play.hs.steps:
        play.hs.take_step(-1)
    play.hs.come_to_rest()

    assert [3] == play.queued()


def test_a_mailbox_evicted_while_its_notice_is_stored_is_learned() -> None:
    """The notice does not settle in a mailbox that somebody else opened."""
    play = Play(max_pairs=1000)
    play.fill("R", [NOTICE])
    pending = play.begin(NOTICE)
    store = play.step("store")
    evict(play)
    assert [store] == [step for step in play.hs.steps if not step.is_ours]
    assert play.memory.get((RECIPIENT, "R")) is None
    play.hs.come_to_rest()

    assert pending.ended is not None
    assert [2] == play.queued()


def test_a_mailbox_evicted_and_opened_again_meanwhile_is_learned() -> None:
    """What came in between settles; what was lost is found."""
    play = Play(max_pairs=1000)
    play.begin(NOTICE)
    evict(play)
    play.begin(NOTICE)
    play.hs.come_to_rest()

    assert 1 == len(play.queued())
    play.send(NOTICE)
    assert 1 == len(play.queued())


def evict(play: Play) -> None:
    """Let invented devices push the other mailboxes out of a small memory."""
    for part in range(3):
        devices = [f"invented {part} {number}" for number in range(200)]
        play.begin(NOTICE, devices, sender="@other:here")
        for _ in range(2):
            play.hs.answer([step for step in play.hs.steps if not step.is_ours][-1])


def test_of_two_keys_that_were_found_both_stay() -> None:
    """One may be a spoof; a third that is seen arriving takes all of them."""
    play = Play()
    play.fill("R", [NOTICE, NEW_KEY])
    play.send(SCOPED, sender="@t:here")
    assert [1, 2, 3] == play.queued()

    play.send({**NOTICE, "sender_key": "newest"})
    assert [3, 4] == play.queued()


def test_of_two_keys_that_were_found_each_is_superseded_by_its_own() -> None:
    """And the one that was seen arriving takes the other along."""
    play = Play()
    play.fill("R", [NOTICE, NEW_KEY])
    play.send(NEW_KEY)

    assert [3] == play.queued()


@pytest.mark.parametrize("at_once", [False, True])
def test_of_request_cancel_request_cancel_the_last_stays(at_once: bool) -> None:
    """One after the other, or all on their way at the same time."""
    play = Play(rules=REQUESTS)
    left: list[list[int]] = []
    for number in range(4):
        action = "request_cancellation" if number % 2 else "request"
        play.begin(key_request(action), message_type="m.room_key_request")
        if not at_once:
            play.hs.come_to_rest()
            left.append(play.queued())
    play.hs.come_to_rest()

    assert [4] == play.queued()
    if not at_once:
        assert [[1], [2], [2, 3], [4]] == left


@pytest.mark.parametrize("which", [0, 1, -1, -2])
def test_requests_settle_in_any_order(which: int) -> None:
    """The last cancellation stays, whichever is stored first."""
    play = Play(rules=REQUESTS)
    for number in range(4):
        action = "request_cancellation" if number % 2 else "request"
        play.begin(key_request(action), message_type="m.room_key_request")
    while play.hs.steps:
        play.hs.take_step(which)
    play.hs.come_to_rest()

    assert [4] == play.queued()


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


def test_a_device_that_slept_before_it_acknowledged_gets_the_next_one() -> None:
    """It was handed a notice and may have read it; what follows says so anew."""
    play = Play(sees_reads=True)
    play.send(NOTICE)
    play.read()
    assert not play.begin(NOTICE).waited
    play.hs.come_to_rest()
    assert [2] == play.queued()

    # Nobody read this one.
    assert play.begin(NOTICE).waited
    play.hs.come_to_rest()
    assert [2] == play.queued()


def test_with_workers_what_was_read_counts_as_queued_until_it_is_acknowledged() -> None:
    """Nobody can know of the read; the one that is queued is delivered again."""
    play = Play()
    play.send(NOTICE)
    play.read()
    play.send(NOTICE)
    assert [1] == play.queued()

    play.sync()
    play.send(NOTICE)
    assert [2] == play.queued()


def test_copies_that_come_at_once_are_stored_and_one_is_left() -> None:
    """Nothing is believed before it was seen being stored."""
    play = Play()
    copies = [play.begin(NOTICE) for _ in range(10)]
    assert not any(copy.waited for copy in copies)
    play.hs.come_to_rest()

    assert [10] == play.queued()


def test_many_requests_under_one_id_are_all_taken_back() -> None:
    """A pair remembers a bounded number of them, and the others are found again."""
    play = Play(rules=REQUESTS)
    for number in range(30):
        content = {**key_request("request"), "body": {"session_id": str(number)}}
        play.begin(content, message_type="m.room_key_request")
    play.hs.come_to_rest()
    assert 30 == len(play.queued())
    play.send(key_request("request_cancellation"), message_type="m.room_key_request")

    assert [31] == play.queued()

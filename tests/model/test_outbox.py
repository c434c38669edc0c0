"""What waits for other servers, each with the sequence that shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from synapse_withheld.delivery import settling
from tests.model.door import remote_batch
from tests.model.faults import LostError, lost
from tests.model.play import (
    ABROAD,
    CONFIRM_ABROAD,
    ENCRYPTED,
    NOTICE,
    OLM,
    SENDER,
    WITHHELD,
    Play,
)


def test_a_duplicate_in_the_outbox_collapses() -> None:
    """Nothing is stored for it, and one statement asks whether the first waits."""
    play = Play()
    play.send_abroad(NOTICE)
    request = play.begin_abroad({**NOTICE, "reason": "again"})
    assert play.steps() == [CONFIRM_ABROAD]
    play.hs.come_to_rest()

    assert request.ended is not None
    assert [1] == play.outbox()


def test_what_is_no_notice_passes_as_the_very_object() -> None:
    """Other types, other codes and malformed ones, whatever waits."""
    play = Play()
    play.send_abroad(NOTICE)
    others: list[tuple[dict[str, Any], str]] = [
        ({"n": 1}, "m.dummy"),
        ({**NOTICE, "code": "m.unavailable"}, WITHHELD),
        ({"code": "m.no_olm"}, WITHHELD),
    ]
    for content, message_type in others:
        assert not play.send_abroad(content, message_type=message_type).waited

    assert [1, 2, 3, 4] == play.outbox()


def test_a_sent_notice_may_be_repeated() -> None:
    """It does not wait any more."""
    play = Play()
    play.send_abroad(NOTICE)
    play.hs.delete_sent("there", 1)
    play.send_abroad(NOTICE)

    assert [2] == play.outbox()


def test_only_what_collapses_is_taken_out_of_an_edu() -> None:
    """The caller's EDU stays as it is; message ID and order stay in the copy."""
    play = Play()
    play.send_abroad(NOTICE, "B")
    other = {"code": "m.other"}
    contents = {(ABROAD, "A"): NOTICE, (ABROAD, "B"): NOTICE, (ABROAD, "C"): other}
    batch = remote_batch(SENDER, WITHHELD, contents)
    edu = batch.edus["there"]
    before = json.dumps(edu)
    play.door.begin(play.traffic, batch)
    play.hs.come_to_rest()

    expected = {ABROAD: {"A": NOTICE, "C": other}}
    assert {**edu, "messages": expected} == play.hs.outbox("there")[1][1]
    assert before == json.dumps(edu)


def test_one_call_may_be_for_many_servers() -> None:
    """As in the older shape of the store; each EDU is taken for itself."""
    play = Play()
    play.send_abroad(NOTICE)
    for _ in range(2):
        contents = {(f"@a:{server}", "A"): NOTICE for server in ("there", "elsewhere")}
        play.door.begin(play.traffic, remote_batch(SENDER, WITHHELD, contents))
        play.hs.come_to_rest()

    assert [1] == play.outbox()
    assert [2] == [stream_id for stream_id, _ in play.hs.outbox("elsewhere")]


def test_an_edu_of_that_notice_alone_is_superseded() -> None:
    """By exact key, once the newer one is there."""
    play = Play()
    play.send_abroad(NOTICE)
    play.send_abroad({**NOTICE, "sender_key": "new"})

    assert [2] == play.outbox()


def test_an_edu_that_holds_more_is_left_alone() -> None:
    """Deleting it would lose what else is in it."""
    play = Play()
    play.send_abroad(NOTICE, ["A", "B"])
    play.send_abroad({**NOTICE, "sender_key": "new"})
    assert [1, 2] == play.outbox()

    play.send_abroad({**NOTICE, "sender_key": "newer"})
    assert [1, 3] == play.outbox()


def test_an_olm_message_to_the_device_rearms_what_waits() -> None:
    """The next notice says something new, to that device only."""
    play = Play()
    play.send_abroad(NOTICE, "A")
    play.send_abroad(NOTICE, "B")
    play.send_abroad(OLM, "A", message_type=ENCRYPTED)
    play.send_abroad(NOTICE, "A")
    play.send_abroad(NOTICE, "B")

    assert [2, 3, 4] == play.outbox()


def test_an_answer_from_the_other_server_rearms_what_waits() -> None:
    """An Olm message that is encrypted for the notice's key."""
    play = Play()
    play.hs.add_device("@s:here", "S1")
    play.send_abroad(NOTICE)
    answer = {"algorithm": "m.olm.v1", "sender_key": "theirs", "ciphertext": {"key": 0}}
    play.send(
        answer,
        "S1",
        message_type=ENCRYPTED,
        sender=ABROAD,
        edu=("there", "1"),
        to_user="@s:here",
    )
    play.send_abroad(NOTICE)

    assert [3] == play.outbox()


def test_a_restart_finds_what_waits_alone() -> None:
    """Nobody watched it, so the next notice supersedes it."""
    play = Play()
    play.send_abroad(NOTICE, "A")
    play.send_abroad(NOTICE, ["B", "C"])
    play.load()
    play.send_abroad(NOTICE, "A")
    play.send_abroad(NOTICE, "B")
    play.send_abroad(NOTICE, "B")

    assert [2, 3, 4] == play.outbox()


def test_a_wildcard_is_not_left_alone_in_an_edu() -> None:
    """Taking A out of {*, A} would send the message to every device."""
    play = Play()
    play.send_abroad(NOTICE)
    play.send_abroad(NOTICE, ["*", "A"])

    edus = [edu["messages"][ABROAD] for _, edu in play.hs.outbox("there")]
    assert [["*", "A"]] == [list(by_device) for by_device in edus]


def test_a_row_that_is_being_sent_is_not_waited_for() -> None:
    """It may be gone when the newer one is there; both are delivered then."""
    play = Play()
    play.send_abroad(NOTICE)
    request = play.begin_abroad({**NOTICE, "sender_key": "new"})
    play.hs.take_step()
    play.hs.delete_sent("there", 1)
    play.hs.come_to_rest()

    assert request.ended is not None
    assert [2] == play.outbox()
    play.send_abroad({**NOTICE, "sender_key": "new"})
    assert [2] == play.outbox()


def test_a_failed_write_of_an_edu_forgets_its_mailboxes() -> None:
    """Nobody knows whether the row is there."""
    play = Play()
    request = play.begin_abroad(NOTICE)
    play.hs.take_step(error=lost())
    request.answer.addErrback(Failure.trap, LostError)

    assert 0 == len(play.traffic.outbox.memory)
    play.send_abroad(NOTICE)
    assert not play.door.batches[-1].waited


def test_after_a_failed_look_up_the_newer_edu_stays() -> None:
    """It is stored whatever waits, and the request does not fail."""
    play = Play()
    play.send_abroad(NOTICE)
    request = play.begin_abroad(NOTICE)
    play.hs.take_step(error=lost())
    play.hs.come_to_rest()

    assert request.ended is not None
    assert [2] == play.outbox()


def test_a_failure_while_an_edu_is_taken_apart_stores_it_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the request does not fail."""
    play = Play()
    play.send_abroad(NOTICE)
    monkeypatch.setattr(settling, "without_collapsed", lambda *_: 1 // 0)
    play.send_abroad(NOTICE, ["A", "B"])
    edus = [edu["messages"][ABROAD] for _, edu in play.hs.outbox("there")]
    assert [["A"], ["A", "B"]] == [list(by_device) for by_device in edus]


def test_edus_that_synapse_does_not_make_pass_as_they_are() -> None:
    """Of two senders, to a server of other users, or of another form."""
    play = Play()
    play.send_abroad(NOTICE)
    notice = {"messages": {ABROAD: {"A": NOTICE}}, "type": WITHHELD}
    written = []

    async def write(_: Any, edus: Any) -> None:
        written.append(edus)

    strange: list[Any] = [
        {"there": {**notice, "sender": "@s:here"}, "x": {**notice, "sender": "@t:x"}},
        {"elsewhere": {**notice, "sender": "@s:here"}},
        {"there": notice},
        {"there": None},
        {"there": {**notice, "sender": "@s:here", "messages": None}},
    ]
    for edus in strange:
        ensureDeferred(play.traffic.store({}, edus, write))
        assert edus == written.pop()
    # It doubts what it remembers where it does not understand what it sees.
    play.failures.clear()


def test_switched_off_everything_is_stored() -> None:
    """`outbox: false`; Olm messages still re-arm what waits here."""
    play = Play(outbox=False)
    play.send_abroad(NOTICE)
    play.send_abroad(NOTICE)
    assert [1, 2] == play.outbox()
    assert play.steps() == []

    play.send(NOTICE, sender=ABROAD, edu=("there", "1"))
    answer = {**OLM, "ciphertext": {"key": 0}}
    play.send_abroad(answer, message_type=ENCRYPTED, sender="@r:here")
    play.send(NOTICE, sender=ABROAD, edu=("there", "2"))
    assert [5] == play.queued()


def test_in_observe_mode_everything_is_stored() -> None:
    """As the very object that Synapse made."""
    play = Play(mode="observe")
    play.send_abroad(NOTICE)
    play.send_abroad(NOTICE)
    play.send_abroad({**NOTICE, "sender_key": "new"})

    assert [1, 2, 3] == play.outbox()


def test_invented_devices_elsewhere_push_nothing_out_of_the_inbox() -> None:
    """Each queue has a memory of its own."""
    play = Play(max_pairs=1000)
    play.send(NOTICE)
    for number in range(3):
        devices = [f"invented {number} {device}" for device in range(900)]
        play.send_abroad(NOTICE, devices, sender=f"@s{number}:here")
    duplicate = play.begin(NOTICE)

    assert duplicate.waited
    assert 1000 >= play.traffic.outbox.memory.pairs


def test_a_changed_device_elsewhere_is_given_what_waits() -> None:
    """What is queued reaches the device that is there then."""
    play = Play()
    play.send_abroad(NOTICE)
    play.hs.change_device(ABROAD, "A")
    play.send_abroad(NOTICE)

    assert [1] == play.outbox()

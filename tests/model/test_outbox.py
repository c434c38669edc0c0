"""What waits for other servers, each with the sequence that shows it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.failure import Failure

from synapse_withheld.delivery import traffic
from tests.model.play import ABROAD, NOTICE, OLM, WITHHELD, Play

ENCRYPTED = "m.room.encrypted"


def test_a_duplicate_in_the_outbox_collapses() -> None:
    """Nothing is stored for it, and one statement asks whether the first waits."""
    play = Play()
    play.send_abroad(NOTICE)
    request = play.begin_abroad({**NOTICE, "reason": "again"})
    assert play.steps() == ["withheld_read_queued_edus"]
    play.hs.come_to_rest()

    assert request.called
    assert [1] == play.outbox()


def test_what_is_no_notice_passes_as_the_very_object() -> None:
    """Other types, other codes and malformed ones, whatever waits."""
    play = Play()
    play.send_abroad(NOTICE)
    for content, message_type in (
        ({"n": 1}, "m.dummy"),
        ({**NOTICE, "code": "m.unavailable"}, WITHHELD),
        ({"code": "m.no_olm"}, WITHHELD),
    ):
        play.send_abroad(content, message_type=message_type)

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
    messages: Any = {ABROAD: {"A": NOTICE, "B": NOTICE, "C": {"code": "m.other"}}}
    edu = {"messages": messages, "sender": "@s:here", "type": WITHHELD}
    edu["message_id"] = "the same"
    written = []

    async def write(left: Any, batch: Any) -> None:
        written.append(left)
        await play.hs.store_edus(left, batch)

    request = play.run(play.traffic.to_remote({"there": edu}, write))

    assert request.called
    expected = {ABROAD: {"A": NOTICE, "C": {"code": "m.other"}}}
    assert [{"there": {**edu, "messages": expected}}] == written
    assert edu["messages"] is messages
    assert ["A", "B", "C"] == list(messages[ABROAD])


def test_one_call_may_be_for_many_servers() -> None:
    """As in the older shape of the store; each EDU is taken for itself."""
    play = Play()
    play.send_abroad(NOTICE)
    edus = {
        server: {
            "messages": {f"@a:{server}": {"A": NOTICE}},
            "sender": "@s:here",
            "type": WITHHELD,
        }
        for server in ("there", "elsewhere")
    }

    async def write(left: Any, batch: Any) -> None:
        await play.hs.store_edus(left, batch)

    for _ in range(2):
        play.run(play.traffic.to_remote(edus, write))

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


def test_an_olm_message_abroad_rearms_what_waits_here() -> None:
    """The answer to a notice from another server leaves through the outbox."""
    play = Play()
    play.send(NOTICE, sender=ABROAD, edu=("there", "1"))
    answer = {**OLM, "ciphertext": {"key": 0}}
    play.send_abroad(answer, message_type=ENCRYPTED, sender="@r:here")
    play.send(NOTICE, sender=ABROAD, edu=("there", "2"))

    assert [3] == play.queued()


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


def test_all_devices_of_a_user_elsewhere_are_left_to_their_server() -> None:
    """Which ones `*` means is known there alone."""
    play = Play()
    play.send_abroad(NOTICE, "*")
    play.send_abroad(NOTICE, "*")
    assert [1, 2] == play.outbox()


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

    assert request.called
    assert [2] == play.outbox()
    play.send_abroad({**NOTICE, "sender_key": "new"})
    assert [2] == play.outbox()


def test_a_failed_write_of_an_edu_forgets_its_mailboxes() -> None:
    """Nobody knows whether the row is there."""
    play = Play()
    request = play.begin_abroad(NOTICE)
    play.hs.take_step()
    play.hs.take_step(error=RuntimeError("the connection was lost"))
    request.addErrback(Failure.trap, RuntimeError)

    assert not play.traffic.outbox.index.knows((ABROAD, "A"))
    assert not play.traffic.outbox.index._in_flight


def test_after_a_failed_look_up_the_newer_edu_stays() -> None:
    """It is stored whatever waits, and the request does not fail."""
    play = Play()
    play.send_abroad(NOTICE)
    request = play.begin_abroad(NOTICE)
    play.hs.take_step(error=RuntimeError("the database failed"))
    play.hs.come_to_rest()

    assert request.called
    assert [2] == play.outbox()


def test_a_failure_while_an_edu_is_taken_apart_stores_it_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the request does not fail."""
    play = Play()
    play.send_abroad(NOTICE)
    monkeypatch.setattr(traffic, "users_sharing", lambda _: 1 // 0)
    play.send_abroad(NOTICE, ["A", "B"])
    edus = [edu["messages"][ABROAD] for _, edu in play.hs.outbox("there")]
    assert [["A"], ["A", "B"]] == [list(by_device) for by_device in edus]

    monkeypatch.undo()
    play.send_abroad(NOTICE, ["A", "B"])
    edus = [edu["messages"][ABROAD] for _, edu in play.hs.outbox("there")]
    assert [["A"], ["A", "B"], ["B"]] == [list(by_device) for by_device in edus]


def test_edus_that_synapse_does_not_make_pass_as_they_are() -> None:
    """Of two senders, to a server of other users, or of another form."""
    play = Play()
    play.send_abroad(NOTICE)
    notice = {"messages": {ABROAD: {"A": NOTICE}}, "type": WITHHELD}
    written = []

    async def write(left: Any, batch: Any) -> None:
        written.append((left, batch))

    for edus in (
        {"there": {**notice, "sender": "@s:here"}, "x": {**notice, "sender": "@t:x"}},
        {"elsewhere": {**notice, "sender": "@s:here"}},
        {"there": notice},
        {"there": None},
        {"there": {**notice, "sender": "@s:here", "messages": None}},
    ):
        play.run(play.traffic.to_remote(edus, write))  # type: ignore[arg-type]
        assert (edus, None) == written.pop()
    assert play.traffic.inbox.index.pairs == 0


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
    """Each queue has an index of its own."""
    play = Play(max_mailboxes=2, max_pairs=2)
    play.send(NOTICE)
    play.send_abroad(NOTICE, [f"invented {number}" for number in range(10)])
    play.send(NOTICE)

    assert play.index.knows(("@r:here", "R"))
    assert len(play.traffic.outbox.index) == 2
    assert [1] == play.queued()


def test_a_changed_device_elsewhere_is_given_what_waits() -> None:
    """What is queued reaches the device that is there then."""
    play = Play()
    play.send_abroad(NOTICE)
    play.hs.change_device(ABROAD, "A")
    play.send_abroad(NOTICE)

    assert [1] == play.outbox()

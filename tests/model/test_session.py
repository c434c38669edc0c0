"""`repeat: session`: what happens after a notice was delivered."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from tests.model.play import ABROAD, CONFIRM, ENCRYPTED, NOTICE, OLM, RECIPIENT, Play

HOUR_MS = 3_600_000


def delivered(**config: Any) -> Play:
    """Return a play in which a notice was stored, read and acknowledged."""
    play = Play(repeat="session", session_hold_ms=HOUR_MS, **config)
    play.send(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    return play


def test_a_delivered_notice_stands_for_later_ones() -> None:
    """Until it is re-armed or the hold is over."""
    play = delivered()
    request = play.begin({**NOTICE, "reason": "again"})
    assert play.steps() == [CONFIRM]
    play.hs.come_to_rest()
    assert request.left_out
    assert [] == play.queued()

    play.hs.clock.advance(3600.5)
    play.send(NOTICE)
    assert [2] == play.queued()


def test_the_hold_begins_when_the_notice_was_last_seen_queued() -> None:
    """It cannot have been delivered earlier."""
    play = Play(repeat="session", session_hold_ms=HOUR_MS)
    play.send(NOTICE)
    play.hs.clock.advance(3000)
    play.send(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)

    play.hs.clock.advance(3000)
    play.send(NOTICE)
    assert [] == play.queued()

    play.hs.clock.advance(1000)
    play.send(NOTICE)
    assert [2] == play.queued()


def test_a_notice_that_collapses_does_not_prolong_the_hold() -> None:
    """Or a sender who never stops would never be heard again."""
    play = delivered()
    for _ in range(4):
        play.hs.clock.advance(1000)
        play.send(NOTICE)

    assert [2] == play.queued()


def olm_to_the_recipient(play: Play) -> None:
    play.send(OLM, message_type=ENCRYPTED)


def olm_to_the_sender(play: Play) -> None:
    play.hs.add_device("@s:here", "S1")
    answer: dict[str, Any] = {"message_type": ENCRYPTED, "sender": RECIPIENT}
    play.send({**OLM, "ciphertext": {"key": 0}}, "S1", to_user="@s:here", **answer)


def device_made_again(play: Play) -> None:
    play.hs.rows("DELETE FROM devices WHERE device_id = 'R'")
    play.send(NOTICE)
    play.hs.add_device(RECIPIENT, "R")


def device_changed(play: Play) -> None:
    """It may have been deleted and made again, unseen by any notice."""
    play.hs.change_device(RECIPIENT, "R")


def device_being_deleted(play: Play) -> None:
    """Its row may have been deleted unread."""
    play.hs.doom(RECIPIENT, "R", 1)


def reader_never_acknowledges(play: Play) -> None:
    """Should rows of an application service go away, nobody knows why."""
    play.hs.service_users.add(RECIPIENT)


@pytest.mark.parametrize(
    "happens",
    [
        olm_to_the_recipient,
        olm_to_the_sender,
        device_made_again,
        device_changed,
        device_being_deleted,
        reader_never_acknowledges,
    ],
)
def test_what_ends_the_hold(happens: Callable[[Play], None]) -> None:
    """The next notice is delivered."""
    play = delivered()
    happens(play)

    assert not play.send(NOTICE).left_out
    assert NOTICE == play.contents()[-1]


def test_another_key_ends_the_hold() -> None:
    """The sender lost its keys."""
    play = delivered()
    play.send({**NOTICE, "sender_key": "new"})

    assert [2] == play.queued()


def test_an_unscoped_notice_is_delivered_after_a_scoped_one() -> None:
    """The one that was delivered says less."""
    play = Play(repeat="session")
    play.send({**NOTICE, "session_id": "session"})
    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.send({**NOTICE, "session_id": "another"})
    assert [] == play.queued()

    play.send(NOTICE)
    assert [2] == play.queued()


def test_a_restart_forgets_what_was_delivered() -> None:
    """And so delivers once more."""
    play = delivered()
    play.load()
    play.send(NOTICE)
    assert [2] == play.queued()

    play.hs.acknowledge(RECIPIENT, "R", 2)
    play.send(NOTICE)
    assert [] == play.queued()


def test_what_was_found_by_reading_is_not_held() -> None:
    """Nobody watched it, so an Olm message may have passed."""
    play = Play(repeat="session")
    play.send(NOTICE)
    play.load()
    play.send({**NOTICE, "from_device": "another"})
    play.hs.acknowledge(RECIPIENT, "R", 2)
    play.send(NOTICE)

    assert [3] == play.queued()


def test_what_is_remembered_of_deliveries_is_bounded() -> None:
    """It makes room for what is queued."""
    play = Play(repeat="session")
    for number in range(150):
        play.send({**NOTICE, "from_device": f"S{number}"})
        play.hs.acknowledge(RECIPIENT, "R", number + 1)

    assert play.memory.pairs <= 100
    play.send({**NOTICE, "from_device": "S149"})
    assert [] == play.queued()


def test_a_notice_for_all_devices_is_always_stored() -> None:
    """Which devices there are is not asked before it."""
    play = Play(repeat="session")
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, "*")
    play.hs.acknowledge(RECIPIENT, "R", 1)
    assert not play.send(NOTICE, "*").waited

    assert ([2], [2]) == (play.queued(), play.queued("R2"))


def test_a_sent_notice_stands_for_later_ones_to_other_servers() -> None:
    """What left the outbox was delivered to the other server."""
    play = Play(repeat="session", session_hold_ms=HOUR_MS)
    play.send_abroad(NOTICE)
    play.hs.delete_sent("there", 1)
    play.send_abroad(NOTICE)
    assert [] == play.outbox()

    play.hs.change_device(ABROAD, "A")
    play.send_abroad(NOTICE)
    assert [2] == play.outbox()

    play.hs.delete_sent("there", 2)
    play.send_abroad(OLM, message_type=ENCRYPTED)
    play.send_abroad(NOTICE)
    assert [3, 4] == play.outbox()

"""`repeat: session`: what happens after a notice was delivered."""

from __future__ import annotations

from typing import Callable

import pytest

from tests.model.play import ABROAD, CONFIRM, NOTICE, RECIPIENT, Play

HOUR_MS = 3_600_000


def delivered() -> Play:
    """Return a play in which a notice was stored, read and acknowledged."""
    play = Play(repeat="session", session_hold_ms=HOUR_MS)
    play.send(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    return play


def test_a_delivered_notice_stands_for_later_ones() -> None:
    """Until the hold is over, which those do not prolong."""
    play = delivered()
    request = play.begin({**NOTICE, "reason": "again"})
    assert play.steps() == [CONFIRM]
    play.hs.come_to_rest()
    assert request.left_out
    play.hs.clock.advance(3500)
    assert play.send(NOTICE).left_out

    play.hs.clock.advance(100.5)
    play.send(NOTICE)
    assert [2] == play.queued()


def device_made_again(play: Play) -> None:
    play.hs.rows("DELETE FROM devices WHERE device_id = 'R'")
    play.send(NOTICE)
    play.hs.add_device(RECIPIENT, "R")


def device_being_deleted(play: Play) -> None:
    """Its row may have been deleted unread."""
    play.hs.doom(RECIPIENT, "R", 1)


def reader_never_acknowledges(play: Play) -> None:
    """Should rows of an application service go away, nobody knows why."""
    play.hs.service_users.add(RECIPIENT)


@pytest.mark.parametrize(
    "happens", [device_made_again, device_being_deleted, reader_never_acknowledges]
)
def test_what_ends_the_hold(happens: Callable[[Play], None]) -> None:
    """The next notice is delivered, as it is after an Olm message and a change."""
    play = delivered()
    happens(play)

    assert not play.send(NOTICE).left_out
    assert NOTICE == play.contents()[-1]


def test_a_sent_notice_stands_for_later_ones_to_other_servers() -> None:
    """What left the outbox was delivered; a device that changed is told again."""
    play = Play(repeat="session", session_hold_ms=HOUR_MS)
    play.send_abroad(NOTICE)
    play.hs.delete_sent("there", 1)
    play.send_abroad(NOTICE)
    assert [] == play.outbox()

    play.hs.change_device(ABROAD, "A")
    play.send_abroad(NOTICE)
    assert [2] == play.outbox()

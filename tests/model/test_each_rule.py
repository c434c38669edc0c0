"""What each rule leaves in mailboxes, with messages going through the module.

Which message makes which redundant is told in `tests/unit/rules/test_redundant.py`, and
that no client misses what goes, in `test_rules.py`.
"""

from __future__ import annotations

from typing import Callable

import pytest

from synapse_withheld.config import RulesConfig
from tests.model.messages import Message, request, verification
from tests.model.play import (
    ABROAD,
    CONFIRM,
    NOTICE,
    RECIPIENT,
    SENDER,
    SESSION,
    WITHHELD,
    Play,
)

KEY, SECRET = "m.room_key_request", "m.secret.request"
VERIFY, VERIFY_CANCEL = "m.key.verification.request", "m.key.verification.cancel"
DAY_S = 24 * 60 * 60

REQUESTS = RulesConfig(key_requests=True, secret_requests=True)
VERIFICATIONS = RulesConfig(verification_requests=True)
SESSIONS = RulesConfig(no_olm=False, withheld=True)


def asked(kind: str = KEY, which: str = "1") -> Message:
    return request(kind, "request", which, "session")


def taken_back(kind: str = KEY, which: str = "1") -> Message:
    return request(kind, "request_cancellation", which, "")


# Of cancelled requests one cancellation stays, of verifications each: a client may show
# its reason.
EACH = pytest.mark.parametrize(
    ("rules", "messages", "left"),
    [
        (REQUESTS, [asked(), taken_back(), taken_back()], [3]),
        (REQUESTS, [asked(SECRET), taken_back(SECRET)], [2]),
        (
            VERIFICATIONS,
            [
                verification(VERIFY, "1"),
                ("m.key.verification.start", {"transaction_id": "1"}),
                *[verification(VERIFY_CANCEL, "1")] * 2,
            ],
            [2, 3, 4],
        ),
        (
            SESSIONS,
            [(WITHHELD, {**SESSION, "code": code}) for code in ("m.1", "m.2", "m.1")],
            [3],
        ),
    ],
)


@EACH
def test_what_a_rule_names_goes_where_the_rule_is_on(
    rules: RulesConfig, messages: list[Message], left: list[int]
) -> None:
    """By default it is not, and `observe` only counts."""
    all_of_them = [*range(1, len(messages) + 1)]
    for config, expected in (
        ({"rules": rules}, left),
        ({}, all_of_them),
        ({"rules": rules, "mode": "observe"}, all_of_them),
    ):
        play = Play(**config)
        play.send_each(*messages)
        assert expected == play.queued()


@EACH
def test_what_waits_for_another_server_goes_too(
    rules: RulesConfig, messages: list[Message], left: list[int]
) -> None:
    """As far as its EDU holds nothing else."""
    for devices, expected in ((["A"], left), (["A", "B"], [1, *left])):
        play = Play(rules=rules)
        play.send_each(messages[0], to=devices, to_user=ABROAD)
        play.send_each(*messages[1:], to="A", to_user=ABROAD)
        assert expected == play.outbox()


@pytest.mark.parametrize("repeat", ["queued", "session"])
def test_a_repeated_code_for_a_session_is_not_stored(repeat: str) -> None:
    """However its reason is worded, until it was read; Olm sessions do not matter."""
    play = Play(rules=SESSIONS, repeat=repeat)
    play.send(SESSION)
    play.send({**SESSION, "reason": "again"})
    assert [1] == play.queued()

    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.send(SESSION)
    assert [2] == play.queued()


# What becomes stale by itself.


@pytest.mark.parametrize("is_there", [False, True])
def test_what_a_device_asked_for_that_is_gone_goes_at_the_first_touch(
    is_there: bool,
) -> None:
    """Its cancellations stay: they may take back what was shown."""
    play = Play(rules=REQUESTS)
    play.hs.register(SENDER)
    for device in ["S1", "S2"] if is_there else ["S2"]:
        play.hs.add_device(SENDER, device)
    of_other = (KEY, {**asked()[1], "requesting_device_id": "S2"})
    play.send_each(asked(which="1"), of_other, asked(which="2"), taken_back(which="3"))
    assert [1, 2, 3, 4] == play.queued()
    play.load()
    play.send_each((KEY, {**of_other[1], "request_id": "new"}))

    assert ([1, 2, 3, 4, 5] if is_there else [2, 4, 5]) == play.queued()


def test_what_has_expired_goes_when_its_mailbox_is_learned() -> None:
    """A cancellation stays: it may close what a lone `start` opened."""
    play = Play(rules=VERIFICATIONS)
    play.send_each(*[verification(VERIFY, each, timestamp=0) for each in ("0", "1")])
    play.fill("R", [verification(VERIFY_CANCEL, "1")[1]], type=VERIFY_CANCEL)
    play.hs.clock.advance(2 * DAY_S)
    play.load()
    play.send_each(verification(VERIFY, "new"))

    assert [3, 4] == play.queued()


# `repeat: session`: what happens after a notice was delivered.


def delivered() -> Play:
    """Return a play in which a notice was stored, read and acknowledged."""
    play = Play(repeat="session", session_hold_ms=3_600_000)
    play.send(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    return play


def test_a_delivered_notice_stands_for_later_ones() -> None:
    """Until the hold is over, which those do not prolong."""
    play = delivered()
    again = play.begin({**NOTICE, "reason": "again"})
    assert [CONFIRM] == play.hs.come_to_rest()
    assert again.left_out
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
    play = Play(repeat="session", session_hold_ms=3_600_000)
    play.send_abroad(NOTICE)
    play.hs.delete_sent("there", 1)
    play.send_abroad(NOTICE)
    assert [] == play.outbox()

    play.hs.change_device(ABROAD, "A")
    play.send_abroad(NOTICE)
    assert [2] == play.outbox()

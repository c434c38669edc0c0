"""What each rule leaves in mailboxes, with messages going through the module."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from tests.model.play import Play
from tests.unit.rules.test_requests import CANCELLATION, REQUEST

TYPES = ["m.room_key_request", "m.secret.request"]
BOTH = pytest.mark.parametrize("message_type", TYPES)
VERIFY, VERIFY_CANCEL = "m.key.verification.request", "m.key.verification.cancel"
TRANSACTION = {"transaction_id": "1"}
WITHHELD = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "code": "m.unverified",
    "sender_key": "K" * 43,
    "from_device": "S",
    "room_id": "!room:hs",
    "session_id": "session",
}
DAY_S = 24 * 60 * 60


def sent(message_type: str, *contents: dict[str, Any], **config: Any) -> Play:
    """Send messages of one type one after the other."""
    rules = RulesConfig(key_requests=True, secret_requests=True)
    play = Play(**{"rules": rules, **config})
    for content in contents:
        play.send(content, message_type=message_type)
    return play


@BOTH
def test_a_cancellation_takes_the_place_of_its_request(message_type: str) -> None:
    """It stays: the request may have been delivered already."""
    assert [2] == sent(message_type, REQUEST, CANCELLATION).queued()


@BOTH
def test_a_request_after_a_cancellation_stays_and_so_does_that(
    message_type: str,
) -> None:
    """It is a new one."""
    assert [2, 3] == sent(message_type, REQUEST, CANCELLATION, REQUEST).queued()


@BOTH
def test_of_requests_and_cancellations_in_turn_the_last_stays(
    message_type: str,
) -> None:
    """Cancellations do not pile up."""
    contents = [REQUEST, CANCELLATION] * 3
    assert [6] == sent(message_type, *contents).queued()


@BOTH
def test_of_identical_requests_the_newest_stays(message_type: str) -> None:
    """Whatever the order of their keys."""
    backwards = {**dict(reversed(REQUEST.items())), "org.matrix.msgid": "1"}

    assert [3] == sent(message_type, REQUEST, backwards, REQUEST).queued()


@BOTH
def test_of_identical_cancellations_the_newest_stays(message_type: str) -> None:
    """They say the same."""
    assert [2] == sent(message_type, CANCELLATION, CANCELLATION).queued()


@BOTH
def test_a_request_for_something_else_stays(message_type: str) -> None:
    """Though it has the same ID."""
    other = {**REQUEST, "body": {"session_id": "another"}}

    assert [1, 2] == sent(message_type, REQUEST, other).queued()


@BOTH
@pytest.mark.parametrize("name", ["requesting_device_id", "request_id"])
def test_another_request_is_not_taken_back(message_type: str, name: str) -> None:
    """Device and ID tell requests apart."""
    other = {**CANCELLATION, name: "another"}

    assert [1, 2] == sent(message_type, REQUEST, other).queued()


def test_nobody_takes_back_what_others_request() -> None:
    """The same user has to."""
    play = sent(TYPES[0], REQUEST)
    play.send(CANCELLATION, message_type=TYPES[0], sender="@t:here")

    assert [1, 2] == play.queued()


def test_a_key_is_not_taken_back_with_a_secret() -> None:
    """The types are apart."""
    play = sent(TYPES[0], REQUEST)
    play.send(CANCELLATION, message_type=TYPES[1])

    assert [1, 2] == play.queued()


@BOTH
def test_after_a_restart_a_cancellation_finds_its_request(message_type: str) -> None:
    """And what is found goes by what is found beside it."""
    play = sent(message_type, REQUEST, REQUEST)
    play.load()
    play.send(CANCELLATION, message_type=message_type)

    assert [3] == play.queued()


@BOTH
def test_a_backlog_of_requests_and_cancellations_is_tidied(message_type: str) -> None:
    """When its mailbox is first touched."""
    play = sent(message_type, REQUEST, CANCELLATION, REQUEST, rules=RulesConfig())
    assert [1, 2, 3] == play.queued()
    rules = RulesConfig(key_requests=True, secret_requests=True)
    play.config = Config(rules=rules)
    play.load()
    play.send({**REQUEST, "request_id": "2"}, message_type=message_type)

    assert [2, 3, 4] == play.queued()


@BOTH
def test_in_observe_mode_everything_stays(message_type: str) -> None:
    """It is only counted."""
    play = sent(message_type, REQUEST, CANCELLATION, mode="observe")

    assert [1, 2] == play.queued()


@BOTH
def test_without_the_rules_everything_stays(message_type: str) -> None:
    """That is the default."""
    play = sent(message_type, REQUEST, CANCELLATION, rules=RulesConfig())

    assert [1, 2] == play.queued()


def test_requests_that_wait_for_another_server_go_too() -> None:
    """As far as their EDU holds nothing else."""
    play = sent(TYPES[0])
    play.send_abroad(REQUEST, message_type=TYPES[0])
    play.send_abroad({**REQUEST, "request_id": "2"}, ["A", "B"], message_type=TYPES[0])
    for request_id in "12":
        content = {**CANCELLATION, "request_id": request_id}
        play.send_abroad(content, ["A"], message_type=TYPES[0])

    assert [2, 3, 4] == play.outbox()


def with_gone_device() -> Play:
    """Have requests of a device that is gone, and other messages, read again."""
    play = sent("m.room_key_request")
    play.hs.register("@s:here")
    play.hs.add_device("@s:here", "S2")
    for number, device in enumerate(["S1", "S2", "S1"]):
        about = {"requesting_device_id": device, "request_id": str(number)}
        play.send({**REQUEST, **about}, message_type="m.room_key_request")
    play.send({**CANCELLATION, "request_id": "9"}, message_type="m.room_key_request")
    return play


def touch(play: Play) -> None:
    """Let a message of the rule arrive after a start."""
    play.load()
    about = {"requesting_device_id": "S2", "request_id": "new"}
    play.send({**REQUEST, **about}, message_type="m.room_key_request")


def test_what_a_device_asked_for_that_is_gone_goes_at_the_first_touch() -> None:
    """Its cancellations stay: they may take back what was shown."""
    play = with_gone_device()
    assert [1, 2, 3, 4] == play.queued()
    touch(play)

    assert [2, 4, 5] == play.queued()


def test_where_every_device_is_there_nothing_goes() -> None:
    """Nor where the user is unknown."""
    play = with_gone_device()
    play.hs.add_device("@s:here", "S1")
    touch(play)
    assert [1, 2, 3, 4, 5] == play.queued()

    stranger = sent("m.room_key_request", REQUEST, {**REQUEST, "request_id": "2"})
    touch(stranger)
    assert [1, 2, 3] == stranger.queued()


def test_in_an_outbox_too_what_a_device_asked_for_that_is_gone_goes() -> None:
    """The asker is of this server."""
    play = sent("m.room_key_request")
    play.hs.register("@s:here")
    for number in range(3):
        request = {**REQUEST, "request_id": str(number)}
        play.send_abroad(request, message_type="m.room_key_request")
    play.load()
    again = {**REQUEST, "request_id": "9"}
    play.send_abroad(again, message_type="m.room_key_request")

    assert [4] == play.outbox()


def test_nobody_is_asked_about_devices_where_nobody_waits_for_an_answer() -> None:
    """A mailbox of notices costs no more than it did."""
    play = sent("m.room_key_request", CANCELLATION, CANCELLATION)
    play.load()
    play.begin(CANCELLATION, message_type="m.room_key_request")
    names = play.hs.come_to_rest()

    assert "withheld_read_mailboxes" in names
    assert "withheld_read_gone" not in names


def verified(*types: str, **rules: bool) -> Play:
    """Send messages of one transaction one after the other."""
    play = Play(rules=RulesConfig(**{"verification_requests": True, **rules}))
    for message_type in types:
        play.send(TRANSACTION, message_type=message_type)
    return play


def test_the_cancellation_of_a_verification_takes_the_place_of_its_request() -> None:
    """It stays: the request may have been shown already."""
    assert [2] == verified(VERIFY, VERIFY_CANCEL).queued()


@pytest.mark.parametrize(
    "types", [(VERIFY_CANCEL, VERIFY), (VERIFY_CANCEL, VERIFY_CANCEL)]
)
def test_every_cancellation_of_a_verification_stays(types: tuple[str, str]) -> None:
    """A client may show the reason of each."""
    assert [1, 2] == verified(*types).queued()


def test_a_request_of_another_transaction_stays() -> None:
    """And that of another user."""
    play = verified(VERIFY)
    play.send({"transaction_id": "2"}, message_type=VERIFY_CANCEL)
    play.send(TRANSACTION, message_type=VERIFY_CANCEL, sender="@t:here")

    assert [1, 2, 3] == play.queued()


def test_the_other_messages_of_a_verification_pass() -> None:
    """Whatever becomes of the request."""
    play = verified(VERIFY, "m.key.verification.start", VERIFY_CANCEL)

    assert [2, 3] == play.queued()


def test_without_the_rule_verifications_stay() -> None:
    """That is the default."""
    assert [1, 2] == verified(
        VERIFY, VERIFY_CANCEL, verification_requests=False
    ).queued()


def test_what_has_expired_goes_when_its_mailbox_is_learned() -> None:
    """What is newer is stored by then."""
    play = verified()
    for number in range(3):
        content = {"transaction_id": str(number), "timestamp": 0}
        play.send(content, message_type=VERIFY)
    play.hs.clock.advance(2 * DAY_S)
    play.load()
    play.send({**TRANSACTION, "transaction_id": "new"}, message_type=VERIFY)

    assert [4] == play.queued()


def play() -> Play:
    """Return a homeserver with this rule alone."""
    return Play(rules=RulesConfig(no_olm=False, withheld=True))


def test_a_repeat_of_a_queued_message_is_not_stored() -> None:
    """However its reason is worded."""
    on = play()
    on.send(WITHHELD)
    on.send({**WITHHELD, "reason": "again"})

    assert [1] == on.queued()


def test_another_code_for_the_session_takes_the_place_of_the_queued_one() -> None:
    """The newest state counts."""
    on = play()
    on.send(WITHHELD)
    on.send({**WITHHELD, "code": "m.blacklisted"})
    on.send(WITHHELD)

    assert [3] == on.queued()


def test_a_message_that_was_read_may_be_repeated() -> None:
    """With `repeat: session` too: that is about Olm sessions."""
    for repeat in ("queued", "session"):
        on = Play(rules=RulesConfig(withheld=True), repeat=repeat)
        on.send(WITHHELD)
        on.hs.acknowledge("@r:here", "R", 1)
        on.send(WITHHELD)

        assert [2] == on.queued()


def test_without_the_rule_every_repeat_is_stored() -> None:
    """That is the default."""
    assert not Config().rules.withheld
    on = Play()
    on.send(WITHHELD)
    on.send(WITHHELD)

    assert [1, 2] == on.queued()

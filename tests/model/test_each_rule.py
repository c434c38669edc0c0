"""What each rule leaves in mailboxes, with messages going through the module.

Which message makes which redundant is told in `tests/unit/rules/test_redundant.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from tests.harness.rules import EVERY_RULE
from tests.model.play import RECIPIENT, SESSION, WITHHELD, Play
from tests.unit.rules.test_requests import CANCELLATION, REQUEST

KEY, SECRET = "m.room_key_request", "m.secret.request"
VERIFY, VERIFY_CANCEL = "m.key.verification.request", "m.key.verification.cancel"
START = "m.key.verification.start"
TRANSACTION = {"transaction_id": "1"}
DAY_S = 24 * 60 * 60

REQUESTS = RulesConfig(key_requests=True, secret_requests=True)
VERIFICATIONS = RulesConfig(verification_requests=True)
SESSIONS = RulesConfig(no_olm=False, withheld=True)

Messages = list[tuple[str, dict[str, Any]]]
TAKEN_BACK: Messages = [(KEY, REQUEST), (KEY, CANCELLATION)]
SECRET_TAKEN_BACK: Messages = [(SECRET, REQUEST), (SECRET, CANCELLATION)]
VERIFIED: Messages = [
    (VERIFY, TRANSACTION),
    (START, TRANSACTION),
    (VERIFY_CANCEL, TRANSACTION),
]
BLACKLISTED = {**SESSION, "code": "m.blacklisted"}
CODES: Messages = [(WITHHELD, SESSION), (WITHHELD, BLACKLISTED), (WITHHELD, SESSION)]

EACH = pytest.mark.parametrize(
    ("rules", "messages", "left"),
    [
        (REQUESTS, TAKEN_BACK, [2]),
        (REQUESTS, SECRET_TAKEN_BACK, [2]),
        (VERIFICATIONS, VERIFIED, [2, 3]),
        (SESSIONS, CODES, [3]),
    ],
)


def sent(messages: Messages, **config: Any) -> Play:
    """Send messages one after the other."""
    play = Play(**config)
    for message_type, content in messages:
        play.send(content, message_type=message_type)
    return play


def all_of(messages: Messages) -> list[int]:
    """Return the stream IDs of all of them."""
    return [*range(1, len(messages) + 1)]


@EACH
def test_what_a_rule_names_goes_where_the_rule_is_on(
    rules: RulesConfig, messages: Messages, left: list[int]
) -> None:
    """By default it is not, and `observe` only counts."""
    assert left == sent(messages, rules=rules).queued()
    assert all_of(messages) == sent(messages).queued()
    assert all_of(messages) == sent(messages, rules=rules, mode="observe").queued()


@EACH
def test_what_was_queued_before_a_rule_was_on_goes_at_the_next_message(
    rules: RulesConfig, messages: Messages, left: list[int]
) -> None:
    """Whatever that is about, if the rule names it."""
    play = sent(messages)
    play.config = Config(rules=rules)
    play.load()
    message_type, content = messages[-1]
    play.send(content, message_type=message_type, sender="@t:here")

    assert [*left, len(messages) + 1] == play.queued()


@pytest.mark.parametrize("messages", [TAKEN_BACK, VERIFIED, CODES])
def test_nobody_takes_away_what_others_sent(messages: Messages) -> None:
    """Each message is of another user."""
    play = Play(rules=EVERY_RULE)
    for number, (message_type, content) in enumerate(messages):
        play.send(content, message_type=message_type, sender=f"@u{number}:here")

    assert all_of(messages) == play.queued()


@EACH
def test_what_waits_for_another_server_goes_too(
    rules: RulesConfig, messages: Messages, left: list[int]
) -> None:
    """As far as its EDU holds nothing else."""
    for devices in (["A"], ["A", "B"]):
        play = Play(rules=rules)
        (first_type, first), *others = messages
        play.send_abroad(first, devices, message_type=first_type)
        for message_type, content in others:
            play.send_abroad(content, message_type=message_type)

        assert (left if devices == ["A"] else [1, *left]) == play.outbox()


def test_of_verifications_every_cancellation_stays() -> None:
    """A client may show the reason of each."""
    play = sent([(VERIFY_CANCEL, TRANSACTION)] * 2, rules=VERIFICATIONS)
    assert [1, 2] == play.queued()


def test_a_repeated_code_for_a_session_is_not_stored() -> None:
    """However its reason is worded."""
    play = sent([(WITHHELD, SESSION)], rules=SESSIONS)
    play.send({**SESSION, "reason": "again"})

    assert [1] == play.queued()


@pytest.mark.parametrize("repeat", ["queued", "session"])
def test_a_code_for_a_session_that_was_read_may_be_repeated(repeat: str) -> None:
    """With `repeat: session` too: that is about Olm sessions."""
    play = sent([(WITHHELD, SESSION)], rules=SESSIONS, repeat=repeat)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.send(SESSION)

    assert [2] == play.queued()


# What becomes stale by itself.


def with_gone_device() -> Play:
    """Have requests of a device that is gone, and other messages, read again."""
    play = Play(rules=REQUESTS)
    play.hs.register("@s:here")
    play.hs.add_device("@s:here", "S2")
    for number, device in enumerate(["S1", "S2", "S1"]):
        about = {"requesting_device_id": device, "request_id": str(number)}
        play.send({**REQUEST, **about}, message_type=KEY)
    play.send({**CANCELLATION, "request_id": "9"}, message_type=KEY)
    return play


def touch(play: Play) -> None:
    """Let a message of the rule arrive after a start."""
    play.load()
    about = {"requesting_device_id": "S2", "request_id": "new"}
    play.send({**REQUEST, **about}, message_type=KEY)


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

    requests = [(KEY, REQUEST), (KEY, {**REQUEST, "request_id": "2"})]
    stranger = sent(requests, rules=REQUESTS)
    touch(stranger)
    assert [1, 2, 3] == stranger.queued()


def test_in_an_outbox_too_what_a_device_asked_for_that_is_gone_goes() -> None:
    """The asker is of this server."""
    play = Play(rules=REQUESTS)
    play.hs.register("@s:here")
    for number in range(3):
        request = {**REQUEST, "request_id": str(number)}
        play.send_abroad(request, message_type=KEY)
    play.load()
    play.send_abroad({**REQUEST, "request_id": "9"}, message_type=KEY)

    assert [4] == play.outbox()


def test_nobody_is_asked_about_devices_where_nobody_waits_for_an_answer() -> None:
    """A mailbox of notices costs no more than it did."""
    play = sent([(KEY, CANCELLATION)] * 2, rules=REQUESTS)
    play.load()
    play.begin(CANCELLATION, message_type=KEY)
    names = play.hs.come_to_rest()

    assert "withheld_read_mailboxes" in names
    assert "withheld_read_gone" not in names


def test_what_has_expired_goes_when_its_mailbox_is_learned() -> None:
    """What is newer is stored by then."""
    play = Play(rules=VERIFICATIONS)
    for number in range(3):
        content = {"transaction_id": str(number), "timestamp": 0}
        play.send(content, message_type=VERIFY)
    play.hs.clock.advance(2 * DAY_S)
    play.load()
    play.send({**TRANSACTION, "transaction_id": "new"}, message_type=VERIFY)

    assert [4] == play.queued()

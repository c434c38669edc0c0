"""What each rule leaves in mailboxes, with messages going through the module.

Which message makes which redundant is told in `tests/unit/rules/test_redundant.py`, and
that no client misses what goes, in `test_rules.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
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
BLACKLISTED = {**SESSION, "code": "m.blacklisted"}

Messages = list[tuple[str, dict[str, Any]]]

# Of cancelled requests one cancellation stays, of verifications each: a client may show
# its reason.
EACH = pytest.mark.parametrize(
    ("rules", "messages", "left"),
    [
        (REQUESTS, [(KEY, REQUEST), *[(KEY, CANCELLATION)] * 2], [3]),
        (REQUESTS, [(SECRET, REQUEST), (SECRET, CANCELLATION)], [2]),
        (
            VERIFICATIONS,
            [
                (VERIFY, TRANSACTION),
                (START, TRANSACTION),
                *[(VERIFY_CANCEL, TRANSACTION)] * 2,
            ],
            [2, 3, 4],
        ),
        (
            SESSIONS,
            [(WITHHELD, SESSION), (WITHHELD, BLACKLISTED), (WITHHELD, SESSION)],
            [3],
        ),
    ],
)


def sent(messages: Messages, **config: Any) -> Play:
    """Send messages one after the other."""
    play = Play(**config)
    for message_type, content in messages:
        play.send(content, message_type=message_type)
    return play


@EACH
def test_what_a_rule_names_goes_where_the_rule_is_on(
    rules: RulesConfig, messages: Messages, left: list[int]
) -> None:
    """By default it is not, and `observe` only counts."""
    all_of_them = [*range(1, len(messages) + 1)]
    assert left == sent(messages, rules=rules).queued()
    assert all_of_them == sent(messages).queued()
    assert all_of_them == sent(messages, rules=rules, mode="observe").queued()


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


@pytest.mark.parametrize("repeat", ["queued", "session"])
def test_a_repeated_code_for_a_session_is_not_stored(repeat: str) -> None:
    """However its reason is worded, until it was read; Olm sessions do not matter."""
    play = sent([(WITHHELD, SESSION)], rules=SESSIONS, repeat=repeat)
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
    play.hs.register("@s:here")
    for device in ["S1", "S2"] if is_there else ["S2"]:
        play.hs.add_device("@s:here", device)
    for number, device in enumerate(["S1", "S2", "S1"]):
        about = {"requesting_device_id": device, "request_id": str(number)}
        play.send({**REQUEST, **about}, message_type=KEY)
    play.send({**CANCELLATION, "request_id": "9"}, message_type=KEY)
    assert [1, 2, 3, 4] == play.queued()
    play.load()
    about = {"requesting_device_id": "S2", "request_id": "new"}
    play.send({**REQUEST, **about}, message_type=KEY)

    assert ([1, 2, 3, 4, 5] if is_there else [2, 4, 5]) == play.queued()


def test_what_has_expired_goes_when_its_mailbox_is_learned() -> None:
    """A cancellation stays: it may close what a lone `start` opened."""
    play = Play(rules=VERIFICATIONS)
    for number in range(2):
        content = {"transaction_id": str(number), "timestamp": 0}
        play.send(content, message_type=VERIFY)
    play.fill("R", [TRANSACTION], type=VERIFY_CANCEL)
    play.hs.clock.advance(2 * DAY_S)
    play.load()
    play.send({"transaction_id": "new"}, message_type=VERIFY)

    assert [3, 4] == play.queued()

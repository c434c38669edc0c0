"""The rules `key_requests` and `secret_requests`: what is taken back goes."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules import decision
from synapse_withheld.rules.mailbox import Remembered
from synapse_withheld.rules.notice import Pair
from synapse_withheld.rules.requests import CANCELLATION as CANCELLED
from synapse_withheld.rules.requests import REQUEST as REQUESTED
from synapse_withheld.rules.requests import KeyRequests, Requests, SecretRequests
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.databases.backlog import FakeRows, driven, other, text_of
from tests.model.play import Play

RULES: list[Requests] = [KeyRequests(), SecretRequests()]
TYPES = ["m.room_key_request", "m.secret.request"]
BOTH = pytest.mark.parametrize("message_type", TYPES)
REQUEST: dict[str, Any] = {
    "action": "request",
    "requesting_device_id": "S1",
    "request_id": "1",
    "body": {"session_id": "session"},
}
CANCELLATION: dict[str, Any] = {
    "action": "request_cancellation",
    "requesting_device_id": "S1",
    "request_id": "1",
}


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
def test_a_cancellation_takes_back_what_was_requested_again(message_type: str) -> None:
    """Each goes the way of the first."""
    contents = [REQUEST, CANCELLATION] * 3
    assert [2, 4, 6] == sent(message_type, *contents).queued()


@BOTH
def test_of_identical_requests_the_newest_stays(message_type: str) -> None:
    """Whatever the order of their keys."""
    backwards = dict(reversed(REQUEST.items()))

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
def test_where_spoofs_are_possible_a_cancellation_counts_all_the_same(
    message_type: str,
) -> None:
    """Whoever sent it, a client would take the request back."""
    play = sent(message_type, REQUEST)
    play.spoofs_possible = True
    play.load()
    play.send(CANCELLATION, message_type=message_type)

    assert [2] == play.queued()


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


EARLIER = Remembered(
    stream_id=1,
    same_key=True,
    variant=REQUESTED,
    rearmed=False,
    watched_since_stored=True,
    device_list_id=0,
    undelivered_s=0.0,
)


@pytest.mark.parametrize(
    ("earlier", "variant", "expected"),
    [
        (EARLIER, REQUESTED, decision.REPEATED),
        (EARLIER._replace(same_key=False), REQUESTED, decision.NOT_REPEATED),
        (EARLIER._replace(same_key=False), CANCELLED, decision.CANCELLED),
        (EARLIER._replace(variant=CANCELLED), CANCELLED, decision.REPEATED),
        (
            EARLIER._replace(variant=CANCELLED, same_key=False),
            REQUESTED,
            decision.NOT_REPEATED,
        ),
    ],
)
def test_each_message_says_what_it_does_to_the_queued_one(
    earlier: Remembered, variant: int, expected: decision.Decision
) -> None:
    """As metrics tell it."""
    assert expected == RULES[0].news(variant, earlier)


def test_a_pair_is_of_a_device_and_a_request() -> None:
    """And of its type; what equal contents have in common is short."""
    found = RULES[0].read("@s:hs", TYPES[0], REQUEST)

    assert found is not None
    assert found.pair == Pair("@s:hs", "S1", TYPES[0], ("1",))
    assert len(found.key) == 32


def test_many_requests_of_one_sender_are_remembered() -> None:
    """They have a limit of their own, since each is a pair."""
    requests = [{**REQUEST, "request_id": str(n)} for n in range(4)]
    limits = {"max_pairs_per_sender": 1, "max_requests_per_sender": 3}
    play = sent(TYPES[0], *requests, **limits)
    for n in range(4):
        play.send({**CANCELLATION, "request_id": str(n)}, message_type=TYPES[0])

    # The fourth was not remembered.
    assert [4, 5, 6, 7, 8] == play.queued()


def test_requests_that_wait_for_another_server_go_too() -> None:
    """As far as their EDU holds nothing else."""
    play = sent(TYPES[0])
    play.send_abroad(REQUEST, message_type=TYPES[0])
    play.send_abroad({**REQUEST, "request_id": "2"}, ["A", "B"], message_type=TYPES[0])
    for request_id in "12":
        content = {**CANCELLATION, "request_id": request_id}
        play.send_abroad(content, ["A"], message_type=TYPES[0])

    assert [2, 3, 4] == play.outbox()


deep: dict[str, Any] = {}
for _ in range(5000):
    deep = {"deeper": deep}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "content",
    [
        {**REQUEST, "action": "other"},
        {**REQUEST, "action": ["request"]},
        {**REQUEST, "requesting_device_id": None},
        {**REQUEST, "requesting_device_id": "D" * 256},
        {**REQUEST, "request_id": 7},
        {**REQUEST, "request_id": ""},
        {**REQUEST, "body": deep},
        {},
        [],
        None,
    ],
    ids=range(10),
)
def test_what_is_malformed_is_not_named(rule: Requests, content: object) -> None:
    """It is stored as it is."""
    (message_type,) = rule.types

    assert rule.read("@s:hs", message_type, content) is None


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

    assert [3, 4] == play.outbox()


def test_the_sweep_takes_what_a_device_asked_for_that_is_gone() -> None:
    """Where anything newer is in the mailbox, whatever that is."""
    rules = Ruleset.of(Config(rules=RulesConfig(key_requests=True)))
    request = text_of("@s:hs", "m.room_key_request", REQUEST)
    cancellation = text_of(
        "@s:hs", "m.room_key_request", {**CANCELLATION, "request_id": "2"}
    )
    texts = [request, cancellation, other(), request]
    rows = FakeRows({("@r:hs", "R", n): text for n, text in enumerate(texts, 1)})
    rows.gone_devices = {("@s:hs", "S1")}
    driven(Sweep(rows, Options(rules=rules)).step())

    assert [2, 3, 4] == sorted(stream_id for *_, stream_id in rows.table)


def test_nobody_is_asked_about_devices_where_nobody_waits_for_an_answer() -> None:
    """A mailbox of notices costs no more than it did."""
    play = sent("m.room_key_request", CANCELLATION, CANCELLATION)
    play.load()
    request = play.begin(CANCELLATION, message_type="m.room_key_request")
    names = []
    while play.hs.steps:
        names += play.steps()
        play.hs.take_step()

    assert request.called
    assert "withheld_read_mailboxes" in names
    assert "withheld_read_gone" not in names

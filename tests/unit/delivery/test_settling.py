"""What is looked at of a batch, and what is heard of it once it was stored."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery import sorting
from synapse_withheld.delivery.confirming import confirmer
from synapse_withheld.delivery.settling import stored_size
from synapse_withheld.operators import series
from synapse_withheld.operators.heavy_hitters import Count
from tests.model.play import ABROAD, NOTICE, RECIPIENT, SENDER, SESSION, WITHHELD, Play
from tests.unit.delivery import played
from tests.unit.delivery.played import OTHER, answer, counting, reasons

# How many messages of a batch are looked at.
MOST = 5


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MOST_SORTED", MOST)


def known(devices: str, **config: Any) -> Play:
    """Return a play in which a notice is queued for each device and another user's."""
    play = Play(**config)
    for user_id, device in [*((RECIPIENT, each) for each in devices), (OTHER, "A")]:
        play.hs.add_device(user_id, device)
        play.send(NOTICE, device, to_user=user_id)
    return play


def learned(play: Play) -> str:
    """Return the devices of which all that is queued is known."""
    return "".join(filter(play.knows, play.memory.devices_of(RECIPIENT)))


def test_a_notice_is_in_flight_once_it_is_sorted() -> None:
    """In the room of its sender, or of the server that could have made that up.

    From where the streams are: what its device was handed before is not known.
    """
    play = Play()
    play.fill("R", [{}])
    play.hs.clock.advance(3)
    play.begin(NOTICE)
    play.begin(NOTICE, sender=ABROAD)

    now = (play.hs.device_list_id(), 3.0)
    assert [(SENDER, *now), ("there", *now)] == [
        (each.who, each.device_list_id, each.queued_s)
        for each in play.memory._in_flight
    ]
    assert 1 == play.memory.open((RECIPIENT, "R"), 0).handed_out
    assert 2 == play.traffic.inbox.begun


def test_each_withheld_message_counts_by_its_own_code() -> None:
    play = Play(rules=RulesConfig(withheld=True))
    count = counting(play, series.MESSAGES, "code", "source")
    decisions = counting(play, series.DECISIONS, "rule", "queue", "reason")
    each = {"A": NOTICE, "B": SESSION, "C": {}}
    play.begin_all({(RECIPIENT, device): what for device, what in each.items()})
    play.begin(NOTICE, ["A", "B"], edu=("there", "1"))

    assert {
        "m.no_olm local": 1,
        "m.unverified local": 1,
        "malformed local": 1,
        "m.no_olm federation": 2,
    } == count()
    assert {"no_olm inbox spoofed_sender": 2} == decisions()


def test_a_notice_for_all_of_whom_nothing_is_remembered_is_the_first() -> None:
    play = Play()
    count = reasons(play)
    play.send(NOTICE, "*")

    assert {"first": 1} == count()
    assert [Count(("no_olm", (RECIPIENT, "*")), 1, 0)] == play.tally.recipients.most(9)


def test_what_cannot_be_sorted_hides_nothing_behind_it() -> None:
    """What is no notice, or cannot be stored."""
    play = known("A")
    odd: dict[Any, Any] = {(RECIPIENT + "\0", "A"): NOTICE, (RECIPIENT, "no"): {}}
    odd |= dict.fromkeys([(RECIPIENT, "\0"), (RECIPIENT, "\udfff")], NOTICE)
    duplicate = play.begin_all({**odd, (RECIPIENT, "A"): NOTICE})
    play.hs.take_all_steps()
    assert {(RECIPIENT, "A")} == duplicate.left_out


# What nobody looks at, since there is too much of it.


@pytest.mark.parametrize("beyond", ["", "FG"])
def test_a_notice_for_very_many_devices_leaves_the_others_in_doubt(beyond: str) -> None:
    """No message is counted twice; what others are told is believed as before."""
    play = known("ABCDE" + beyond)
    count = reasons(play)
    play.begin(NOTICE, "*")
    assert "ABCDE" == learned(play)
    play.hs.come_to_rest()

    assert {"wildcard": 5} == count()
    for device in "ABCDE" + beyond:
        assert play.begin(NOTICE, device).waited is not bool(beyond)
    assert play.begin(NOTICE, "A", to_user=OTHER).waited


def test_of_all_users_together_so_many_messages_are_looked_at() -> None:
    """The others are counted, as of no rule; and of devices that do not exist, none."""
    play = Play()
    count = counting(play, series.DECISIONS, "rule", "queue", "reason")
    places = [(user_id, device) for user_id in (RECIPIENT, OTHER) for device in "ABC"]
    for most in (MOST, MOST + 1):
        play.begin_all(dict.fromkeys(places[:most], NOTICE))
        play.hs.come_to_rest()

    expected = {"no_olm inbox unknown_device": MOST, "none inbox limit": MOST + 1}
    assert expected == count()
    assert 2 * MOST + 1 == play.tally.history.of("deliver")[-1]
    assert [] == play.tally.recipients.most(9)


@pytest.mark.parametrize(("named", "expected"), [("A", "B"), ("C", "AB"), ("*", "")])
def test_only_mailboxes_that_it_names_are_doubted(named: str, expected: str) -> None:
    """What it names `*` for is for all of the user's, and of nobody else's."""
    play = known("AB")
    play.begin(NOTICE, [named, *"uvwxy"])

    assert expected == learned(play)
    assert play.memory.open((OTHER, "A"), 0).learned


@pytest.mark.parametrize(
    ("origin", "expected"), [(None, False), ("here", False), ("there", True)]
)
def test_what_nobody_looked_at_ends_the_belief_in_what_was_told_before(
    origin: str | None, expected: bool
) -> None:
    """Of its sender to its users, if that may send it: no server ends other belief."""
    play = known("A")
    play.begin(NOTICE, [*"ABCDEF"], edu=(origin, "1") if origin else None)
    belief = play.memory.believe((RECIPIENT, "A"), played.said(), 0.0)
    assert expected is (belief.record is not None)
    play.hs.come_to_rest()

    assert expected is play.begin(NOTICE, "A").waited
    assert play.begin(NOTICE, "A", to_user=OTHER).waited


# Once it was stored, or not.


def test_a_mailbox_that_was_forgotten_meanwhile_is_opened_and_learned() -> None:
    """From where the stream is by then."""
    play = Play()
    play.begin(NOTICE)
    play.memory.forget((RECIPIENT, "R"))
    play.hs.come_to_rest()

    assert play.knows()
    assert 1 == play.memory.open((RECIPIENT, "R"), 0).handed_out


def test_of_a_batch_that_was_not_sorted_all_it_names_is_forgotten() -> None:
    """In each queue what is for it; `*` names all of the user's."""
    play = known("ABC")
    play.send_abroad(NOTICE, ["X", "Y"])
    inbox, outbox = play.traffic.inbox, play.traffic.outbox
    # One of two is in flight by then.
    inbox.reader_never_acknowledges = Mock(side_effect=[False, ZeroDivisionError])
    play.begin(NOTICE, ["A", "B"])
    assert ["C"] == play.memory.devices_of(RECIPIENT)
    assert [] == list(play.memory._in_flight)
    inbox.device_list_id = outbox.device_list_id = Mock(side_effect=ZeroDivisionError)
    play.begin(NOTICE, "*")
    play.begin_abroad(NOTICE, "X")

    assert [] == play.memory.devices_of(RECIPIENT)
    assert ["A"] == play.memory.devices_of(OTHER)
    assert ["Y"] == outbox.memory.devices_of(ABROAD)


def test_what_was_confirmed_is_asked_about_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have been read, and its hold be over."""
    monkeypatch.setattr(confirmer, "MOST_ROWS", 1)
    config = {"repeat": "session", "session_hold_ms": 10_000}
    play = known("AB", sees_reads=True, **config)
    count = reasons(play)
    play.sync("A")
    play.hs.clock.advance(9.9 - play.hs.clock.seconds())
    notices = play.begin(NOTICE, ["A", "B"])
    answer(play)
    play.hs.clock.advance(0.2)
    play.hs.take_all_steps()

    assert {(RECIPIENT, "B")} == notices.left_out
    assert {"read": 1, "duplicate": 1} == count()


def test_the_bytes_of_all_that_collapsed_are_counted() -> None:
    """By queue, as often as each would have been stored; and the notices."""
    play = known("ABC")
    play.send_abroad(NOTICE)
    count = counting(play, series.COLLAPSED_BYTES, "queue")
    twice = {**NOTICE, "reason": "ä"}
    contents = {"A": twice, "B": twice, "C": NOTICE}
    play.begin_all({(RECIPIENT, device): what for device, what in contents.items()})
    play.hs.come_to_rest()
    play.send_abroad(NOTICE)

    two, one = (
        len(json.dumps(message, separators=(",", ":")))
        for content in (twice, NOTICE)
        for message in [{"content": content, "type": WITHHELD, "sender": SENDER}]
    )
    assert {"inbox": 2 * two + one, "outbox": one} == count()
    assert [Count(("no_olm", SENDER), 9, 0)] == play.tally.senders.most(9)
    assert 4 == play.tally.history.of("collapse")[-1]


def test_what_cannot_be_encoded_takes_no_bytes() -> None:
    deep: list[Any] = []
    deep.append(deep)

    assert 0 == stored_size({"content": deep})
    assert 0 == stored_size({"content": object()})

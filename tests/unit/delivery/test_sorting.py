"""Sorting: which messages of a batch are looked at, and what the memory hears."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery import sorting
from synapse_withheld.delivery.batch import Batch
from synapse_withheld.operators import series
from synapse_withheld.operators.tally import Count
from tests.harness.messages import make_message
from tests.model.play import ABROAD, NOTICE, RECIPIENT, SENDER, SESSION, Play
from tests.unit.delivery.played import counting, said

OTHER = "@q:here"
MOST = 5


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MOST_SORTED", MOST)


def known(devices: str) -> Play:
    """Return a play in which a notice is queued for each device and another user's."""
    play = Play()
    for user_id, device in [*((RECIPIENT, each) for each in devices), (OTHER, "A")]:
        play.hs.add_device(user_id, device)
        play.send(NOTICE, device, to_user=user_id)
    return play


def learned(play: Play) -> str:
    """Return the devices of which all that is queued is known."""
    return "".join(
        each for each in play.memory.devices_of(RECIPIENT) if play.knows(each)
    )


def test_a_notice_is_in_flight_once_it_is_sorted() -> None:
    """In the room of its sender, or of the server that could have made that up.

    From where the streams are: what its device was handed before is not known.
    """
    play = Play()
    play.fill("R", [{}])
    play.hs.clock.advance(3)
    play.begin(NOTICE)
    play.begin(NOTICE, sender=ABROAD, edu=("there", "1"))

    device_list_id = play.hs.device_list_id()
    assert [(SENDER, device_list_id, 3.0), ("there", device_list_id, 3.0)] == [
        (each.who, each.device_list_id, each.queued_s)
        for each in play.memory._in_flight
    ]
    mailbox = play.memory.peek((RECIPIENT, "R"))
    assert mailbox is not None
    assert 1 == mailbox.handed_out
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
    count = counting(play, series.DECISIONS, "rule", "queue", "reason")
    play.send(NOTICE, "*")

    assert {"no_olm inbox first": 1} == count()
    assert [Count(("no_olm", (RECIPIENT, "*")), 1, 0)] == play.tally.recipients.most(9)


def test_a_notice_for_all_is_one_message_for_each() -> None:
    """Whether any of their mailboxes is remembered or not."""
    message = make_message(SENDER, NOTICE)
    for play, devices in ((known("AB"), ["A", "B"]), (Play(), ["*"])):
        batch = Batch({RECIPIENT: {"*": message}}, {}, SENDER, SENDER, 0.0)
        play.traffic.inbox.sort(batch, batch.local, None)

        assert devices == [each.mailbox[1] for each in batch.candidates]
        assert all(each.message is message for each in batch.candidates)


def test_what_cannot_be_sorted_hides_nothing_behind_it() -> None:
    """What is no notice, or cannot be stored."""
    play = known("A")
    odd: dict[Any, Any] = {(RECIPIENT + "\0", "A"): NOTICE, (RECIPIENT, "no"): {}}
    odd |= dict.fromkeys([(RECIPIENT, "\0"), (RECIPIENT, "\udfff")], NOTICE)
    duplicate = play.begin_all({**odd, (RECIPIENT, "A"): NOTICE})
    play.hs.take_all_steps()
    assert {(RECIPIENT, "A")} == duplicate.left_out


@pytest.mark.parametrize("beyond", ["", "FG"])
def test_a_notice_for_very_many_devices_leaves_the_others_in_doubt(beyond: str) -> None:
    """No message is counted twice; what others are told is believed as before."""
    play = known("ABCDE" + beyond)
    count = counting(play, series.DECISIONS, "reason")
    play.begin(NOTICE, "*")
    assert "ABCDE" == learned(play)
    play.hs.come_to_rest()

    assert {"wildcard": 5} == count()
    for device in "ABCDE" + beyond:
        assert play.begin(NOTICE, device).waited is not bool(beyond)
    assert play.begin(NOTICE, "A", to_user=OTHER).waited


def test_of_all_users_together_so_many_messages_are_looked_at() -> None:
    play = Play()
    count = counting(play, series.DECISIONS, "reason")
    places = [(user_id, device) for user_id in (RECIPIENT, OTHER) for device in "ABC"]
    for most in (MOST, MOST + 1):
        play.begin_all(dict.fromkeys(places[:most], NOTICE))
        play.hs.come_to_rest()

    assert {"unknown_device": MOST, "limit": MOST + 1} == count()


@pytest.mark.parametrize(("named", "expected"), [("A", "B"), ("C", "AB"), ("*", "")])
def test_only_mailboxes_that_it_names_are_doubted(named: str, expected: str) -> None:
    """What it names `*` for is for all of the user's, and of nobody else's."""
    play = known("AB")
    play.begin(NOTICE, [named, *"uvwxy"])
    mailbox = play.memory.peek((OTHER, "A"))

    assert expected == learned(play)
    assert mailbox is not None
    assert mailbox.learned


@pytest.mark.parametrize(
    ("origin", "expected"), [(None, False), ("here", False), ("there", True)]
)
def test_what_nobody_looked_at_ends_the_belief_in_what_was_told_before(
    origin: str | None, expected: bool
) -> None:
    """Of its sender to its users, if that may send it: no server ends other belief."""
    play = known("A")
    play.begin(NOTICE, [*"ABCDEF"], edu=(origin, "1") if origin else None)
    belief = play.memory.believe((RECIPIENT, "A"), said(), 0.0)
    assert expected is (belief.record is not None)
    play.hs.come_to_rest()

    assert expected is play.begin(NOTICE, "A").waited
    assert play.begin(NOTICE, "A", to_user=OTHER).waited

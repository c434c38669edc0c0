"""Settling: what the memory hears of a batch that was stored, left out or lost."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock, call

import pytest

from synapse_withheld.delivery import sorting
from synapse_withheld.delivery.batch import Batch, Candidate, ObservedBatch
from synapse_withheld.delivery.confirming import confirmer
from synapse_withheld.delivery.housekeeping.housekeeper import Housekeeper
from synapse_withheld.delivery.settling import stored_size
from synapse_withheld.operators import series
from synapse_withheld.operators.tally import Count
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.redundant import Row
from tests.model.play import ABROAD, NEW_KEY, NOTICE, RECIPIENT, SENDER, WITHHELD, Play
from tests.unit.delivery.played import answer, counting, known, said, stored
from tests.unit.memory.naming import is_learned

OTHER = "@q:here"
R = (RECIPIENT, "R")


def test_the_housekeeper_hears_what_is_left_to_do_and_on_whose_behalf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of what is for all, too; and nothing is in flight any more."""
    heard = Mock()
    for name in ("learn", "learn_user", "tidy"):
        monkeypatch.setattr(Housekeeper, name, getattr(heard, name))
    play = Play()

    def send(content: Any, to: str, message_id: str) -> None:
        play.send(content, to, sender=ABROAD, edu=("there", message_id))

    send(NOTICE, "R", "1")
    mailbox = play.memory.peek(R)
    assert mailbox is not None
    mailbox.learned = True
    send(NEW_KEY, "R", "2")
    send(NOTICE, "*", "3")
    # Of this, no row is stored.
    send(NOTICE, "*", "3")
    (record,) = mailbox

    assert [
        call.learn("inbox", mailbox, "there"),
        call.tidy("inbox", [Superseded(R, 1, 2)], "there"),
        call.tidy("inbox", [Superseded(R, 2, 3)], "there"),
        call.learn_user(RECIPIENT, "there", Row(3, record.notice)),
        call.learn_user(RECIPIENT, "there", None),
    ] == heard.mock_calls
    assert [] == list(play.memory._in_flight)


def test_a_mailbox_that_was_forgotten_meanwhile_is_opened_and_learned() -> None:
    """From where the stream is by then."""
    play = Play()
    play.begin(NOTICE)
    play.memory.forget(R)
    play.hs.come_to_rest()

    mailbox = play.memory.peek(R)
    assert mailbox is not None
    assert (1, True) == (mailbox.handed_out, mailbox.learned)


def test_what_was_passed_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no such device: it has no mailbox, and nothing came for it."""
    gone = {(RECIPIENT, "gone"), (RECIPIENT, "*")}
    monkeypatch.setattr(ObservedBatch, "passed_over", lambda _, key: key in gone)
    learn_user = Mock()
    monkeypatch.setattr(Housekeeper, "learn_user", learn_user)
    play = Play()
    count = counting(play, series.DECISIONS, "reason")
    play.send(NOTICE, ["R", "gone"])
    play.send(NOTICE, "*")

    assert ["R"] == play.memory.devices_of(RECIPIENT)
    assert [] == list(play.memory._in_flight)
    learn_user.assert_not_called()
    assert {"unknown_device": 1, "first": 1, "wildcard": 1} == count()
    assert [Count(("no_olm", R), 2, 0)] == play.tally.recipients.most(9)


def test_what_was_opened_while_something_for_all_was_stored_is_doubted() -> None:
    """It may have been learned too early; not where that was in flight."""
    play = Play()
    play.send(NOTICE)
    play.begin(NEW_KEY, "*")
    opened, others = (RECIPIENT, "opened"), (OTHER, "A")
    for key in (opened, others):
        play.memory.open(key, 0).learned = True
    stored(play)

    assert [True, False, True] == [
        is_learned(play.memory, key) for key in (R, opened, others)
    ]


def test_of_a_batch_that_was_not_sorted_all_it_names_is_forgotten() -> None:
    """In each queue what is for it; `*` names all of the user's."""
    play = known("A", "B", "C")
    play.hs.add_device(OTHER, "A")
    play.send(NOTICE, "A", to_user=OTHER)
    play.send_abroad(NOTICE, ["X", "Y"])

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    inbox, outbox = play.traffic.inbox, play.traffic.outbox
    # One of two is in flight by then.
    inbox.reader_never_acknowledges = Mock(side_effect=[False, ZeroDivisionError])
    play.begin(NOTICE, ["A", "B"])
    assert ["C"] == play.memory.devices_of(RECIPIENT)
    assert [] == list(play.memory._in_flight)
    inbox.device_list_id = outbox.device_list_id = fail
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
    play = known("A", "B", sees_reads=True, **config)
    count = counting(play, series.DECISIONS, "reason")
    play.sync("A")
    play.hs.clock.advance(9.9 - play.hs.clock.seconds())
    notices = play.begin(NOTICE, ["A", "B"])
    answer(play)
    play.hs.clock.advance(0.2)
    answer(play)
    stored(play)

    assert {(RECIPIENT, "B")} == notices.left_out
    assert {"read": 1, "duplicate": 1} == count()


def test_the_bytes_of_all_that_collapsed_are_counted() -> None:
    """By queue, as often as each would have been stored; and the notices."""
    play = known("A", "B", "C")
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
    assert [Count(("no_olm", SENDER), 8, 0)] == play.tally.senders.most(9)
    assert 4 == play.tally.history.of("collapse")[-1]


def test_what_was_not_stored_was_received_before() -> None:
    """Each queue has rows of its own."""
    play = Play()
    count = counting(play, series.DECISIONS, "queue", "reason")
    batch = Batch({}, {}, SENDER, SENDER, 0.0)
    batch.local.stream_id = 7
    candidates = [
        Candidate(queue, R, said(), {}, decisions.FIRST)
        for queue in ("inbox", "outbox")
    ]
    play.traffic.settler.count(batch, candidates)

    assert {"inbox first": 1, "outbox already_received": 1} == count()


def test_what_cannot_be_encoded_takes_no_bytes() -> None:
    deep: list[Any] = []
    deep.append(deep)

    assert 0 == stored_size({"content": deep})
    assert 0 == stored_size({"content": object()})


def test_what_nobody_looked_at_is_doubted_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have been learned too early; it is counted as of no rule."""
    monkeypatch.setattr(sorting, "MOST_SORTED", 1)
    play = known("A")
    count = counting(play, series.DECISIONS, "rule", "queue", "reason")
    play.begin(NOTICE, ["A", "x"])
    play.memory.open((RECIPIENT, "A"), 0).learned = True
    stored(play)

    assert not is_learned(play.memory, (RECIPIENT, "A"))
    assert {"none inbox limit": 2} == count()
    assert 3 == play.tally.history.of("deliver")[-1]

"""Traffic: what it counts once, what fails in it, and what Olm messages re-arm."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from synapse_withheld.delivery import runtime
from synapse_withheld.delivery.confirming.confirmer import Confirmer
from synapse_withheld.delivery.settling import Settler
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators import series
from tests.model.batch import Said
from tests.model.homeserver import LostError
from tests.model.play import (
    ABROAD,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    WITHHELD,
    Play,
)
from tests.model.telling import plays
from tests.unit.delivery.played import counting
from tests.unit.memory.known import no_olm


def test_a_request_without_messages_lets_nobody_go() -> None:
    """It is nobody's, and no failure either; nor is a type that is no text."""
    play = Play()
    play.send(NOTICE)
    waits = play.begin(NOTICE)
    play.begin_all({})
    play.begin(NOTICE, message_type=["m.dummy"], sender=ABROAD)

    assert waits.handed is None


@pytest.mark.parametrize(
    ("of", "name", "message", "stage", "decided"),
    [
        # What an Olm message would have re-armed is not believed any more.
        (Memory, "rearm_users", (OLM, ENCRYPTED), "decide", {}),
        (Sorter, "sort", (NOTICE, WITHHELD), "decide", {}),
        (Confirmer, "add", (NOTICE, WITHHELD), "decide", {"failed": 1}),
        (Memory, "confirmed", (NOTICE, WITHHELD), "statement", {"failed": 1}),
        (Settler, "take_out", (NOTICE, WITHHELD), "decide", {}),
        (Settler, "settle", (NEW_KEY, WITHHELD), "record", {}),
    ],
)
def test_what_fails_is_counted_by_its_stage(
    monkeypatch: pytest.MonkeyPatch,
    of: type,
    name: str,
    message: tuple[Any, str],
    stage: str,
    decided: dict[str, int],
) -> None:
    """The message is stored; so is the next of its pair where nothing was decided."""
    play = Play()
    play.send(NOTICE)
    stages = counting(play, series.FAILURES, "stage")
    count = counting(play, series.DECISIONS, "reason")
    content, message_type = message
    with monkeypatch.context() as patched:
        patched.setattr(of, name, lambda *_: 1 // 0)
        assert play.send(content, message_type=message_type).stream_id

    assert ({stage: 1}, decided) == (stages(), count())
    assert bool(decided) is bool(play.send(NOTICE).left_out)


def test_each_failure_is_counted_and_one_a_minute_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    play = Play()
    failures, stages = play.traffic.failures, counting(play, series.FAILURES, "stage")
    for stage in ("record", "record", "decide"):
        failures.note(stage, LostError("boom"))
    play.hs.clock.advance(60)
    failures.note("record", LostError("boom"))

    assert {"record": 3, "decide": 1} == stages()
    said = "synapse_withheld failed at stage '%s'; messages are stored as Synapse "
    said += "without it would (logged once a minute)"
    assert [
        (logging.ERROR, said % stage) for stage in ("record", "decide", "record")
    ] == [(record.levelno, record.getMessage()) for record in caplog.records]
    assert 3 == caplog.text.count("LostError: boom")


def test_the_time_of_day_is_told_in_milliseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a homeserver, too, where it is as late as the clock says."""
    clock = Clock()
    clock.advance(12.3456)
    monkeypatch.setattr("time.time", clock.seconds)

    assert 12346 == runtime.now_ts()
    assert 12346 == runtime.at_once(clock, cast(Any, None)).now_ts()


def test_who_reads_for_all_devices_of_a_user_is_handed_all_that_they_have() -> None:
    """As bridges do; nobody else's mailboxes are meant."""
    play = Play()
    keys = [(RECIPIENT, "A"), (RECIPIENT, "B"), ("@q:here", "A")]
    mailboxes = [play.memory.open(key, 3) for key in keys]
    play.traffic.note_read_of_user(RECIPIENT, 7)

    assert [7, 7, 3] == [mailbox.handed_out for mailbox in mailboxes]


# Olm messages.

US, THEM, THIRD = "@u:here", "@t:there", "@x:here"
KEYLESS = {"algorithm": "m.olm.v1"}
MEGOLM = {"algorithm": "m.megolm.v1", "sender_key": "key"}

# To which user and device, by whom, with which key.
INBOX = [
    *[(US, "D", THIRD, "key"), (US, "E", THIRD, "key"), (US, "E", THIRD, "k")],
    *[(THIRD, "X", US, "key"), (THIRD, "D", THIRD, "k")],
    *[(THIRD, "A", THEM, "k"), (US, "A", THEM, "k")],
]
OUTBOX = [(THEM, "D", THIRD, "key"), (THIRD, "A", THEM, "k")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # What has the key of the sending device, in what is an Olm message.
        ({(US, "D"): MEGOLM, (US, "E"): OLM}, (1, 1)),
        # Of one that tells no key only what it answers, since nobody knows between
        # which devices it is.
        ({(US, "D"): KEYLESS}, (0, 1)),
        # One to another server: what is queued for that, and what was told from there.
        ({(THEM, "D"): OLM, (THEM, "E"): OLM, ("@v:there", "D"): OLM}, (1, 1)),
        # One to all devices: all between the two, whichever key it names. Of those to
        # oneself, one is an answer to the other.
        ({(US, "*"): OLM, (THIRD, "*"): OLM}, (4, 2)),
    ],
)
def test_an_olm_message_rearms_what_was_told_between_its_ends(
    said: Said, expected: tuple[int, int]
) -> None:
    """It counts once."""
    play = Play()
    for memory, rows in ((play.memory, INBOX), (play.traffic.outbox.memory, OUTBOX)):
        for user_id, device_id, told_by, key in rows:
            mailbox = memory.open((user_id, device_id), 0)
            told = no_olm(key, sender=told_by, device=key)
            memory.settle(memory.begin(mailbox.key, told, told_by, 0, 0.0), 5)
    count = counting(play, series.REARMED, "direction")
    play.begin_all(said, ENCRYPTED, sender=THIRD)
    play.hs.come_to_rest()

    counts = count()
    assert expected == (counts.get("to_recipient", 0), counts.get("to_sender", 0))


test_olm = plays()("""
    what a server may not send re-arms nothing
        send notice; send olm by @s:here in elsewhere/1; send notice; collapsed: 3
    an answer re-arms what was sorted while it was stored
        send notice to there/B by @r:here; begin olm by @a:there; hold store
        begin notice to there/A by @r:here; rest; free; rest
        send notice to there/A by @r:here; collapsed:
        send notice to there/A by @r:here; collapsed: 5
        send olm by @a:there; send notice to there/A by @r:here; collapsed: 5
""")

"""Traffic: what it counts once, and what it hears of those who read."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.delivery.confirming.confirmer import Confirmer
from synapse_withheld.delivery.settling import Settler
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators import series
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
from tests.unit.delivery.played import counting


def test_how_long_sorting_takes_is_counted() -> None:
    play = Play()
    play.hs.pass_time(5)
    took_s: list[float] = []
    play.traffic.metrics.decided_in = took_s.append

    def device_list_id() -> int:
        play.hs.clock.advance(0.25)
        return 0

    play.traffic.inbox.device_list_id = device_list_id
    play.send(NOTICE)

    assert [0.25] == took_s


def test_nothing_collapses_before_all_is_stored_that_nobody_looked_at() -> None:
    """Of one sender; from then on it does again."""
    play = Play()
    for _ in range(2):
        play.begin(NEW_KEY, ["R", *map(str, range(1000))])
    last = play.hs.steps[1]
    last.hangs = True
    play.hs.take_all_steps()
    play.begin(NOTICE)
    play.hs.take_all_steps()
    assert not play.begin(NOTICE).waited
    last.hangs = False
    play.hs.come_to_rest()
    play.send(NOTICE)

    assert play.send(NOTICE).left_out


def test_a_request_without_messages_lets_nobody_go() -> None:
    """It is nobody's, and no failure either; nor is a type that is no text."""
    play = Play()
    play.send(NOTICE)
    waits = play.begin(NOTICE)
    play.begin_all({})
    play.begin(NOTICE, message_type=["m.dummy"], sender=ABROAD)

    assert waits.handed is None


@pytest.mark.parametrize(
    ("of", "name", "message", "reasons"),
    [
        # What an Olm message would have re-armed is not believed any more.
        (Memory, "rearm_users", (OLM, ENCRYPTED), {}),
        (Sorter, "sort", (NOTICE, WITHHELD), {}),
        (Confirmer, "add", (NOTICE, WITHHELD), {"failed": 1}),
        (Settler, "take_out", (NOTICE, WITHHELD), {}),
    ],
)
def test_what_fails_before_anything_is_stored_counts_as_not_decided(
    monkeypatch: pytest.MonkeyPatch,
    of: type,
    name: str,
    message: tuple[Any, str],
    reasons: dict[str, int],
) -> None:
    """The message is stored, and the next of its pair once more."""
    play = Play()
    play.send(NOTICE)
    stages = counting(play, series.FAILURES, "stage")
    decided = counting(play, series.DECISIONS, "reason")
    content, message_type = message
    with monkeypatch.context() as patched:
        patched.setattr(of, name, lambda *_: 1 // 0)
        assert play.send(content, message_type=message_type).stream_id

    assert {"decide": 1} == stages()
    assert reasons == decided()
    if not reasons:
        assert not play.send(NOTICE).left_out


def test_what_fails_once_it_is_stored_counts_as_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play()
    stages = counting(play, series.FAILURES, "stage")
    monkeypatch.setattr(Settler, "settle", lambda *_: 1 // 0)
    play.send(NOTICE)

    assert {"record": 1} == stages()


def test_who_reads_for_all_devices_of_a_user_is_handed_all_that_they_have() -> None:
    """As bridges do; nobody else's mailboxes are meant."""
    play = Play()
    keys = [(RECIPIENT, "A"), (RECIPIENT, "B"), ("@q:here", "A")]
    mailboxes = [play.memory.open(key, 3) for key in keys]
    play.traffic.note_read_of_user(RECIPIENT, 7)

    assert [7, 7, 3] == [mailbox.handed_out for mailbox in mailboxes]


def test_an_answer_rearms_what_was_sorted_while_it_was_stored() -> None:
    """One from another server answers what waits for that server."""
    play = Play()
    play.send_abroad(NOTICE, "another", sender=RECIPIENT)
    play.begin(OLM, message_type=ENCRYPTED, sender=ABROAD, edu=("there", "1"))
    play.begin_abroad(NOTICE, sender=RECIPIENT)
    play.hs.come_to_rest()

    assert not play.send_abroad(NOTICE, sender=RECIPIENT).left_out
    assert play.send_abroad(NOTICE, sender=RECIPIENT).left_out
    # And what was stored before.
    play.send(OLM, message_type=ENCRYPTED, sender=ABROAD, edu=("there", "2"))
    assert not play.send_abroad(NOTICE, sender=RECIPIENT).left_out


def test_what_a_server_may_not_send_rearms_nothing() -> None:
    play = Play()
    play.send(NOTICE)
    play.send(OLM, message_type=ENCRYPTED, edu=("elsewhere", "1"))

    assert play.send(NOTICE).left_out


def test_an_olm_message_counts_once_for_what_it_rearms() -> None:
    """It is marked twice only where a notice may have come in between."""
    play = Play()
    play.send_abroad(NOTICE)
    play.send(NOTICE)
    count = counting(play, series.REARMED, "direction")
    play.send(OLM, message_type=ENCRYPTED)

    assert {"to_recipient": 1} == count()

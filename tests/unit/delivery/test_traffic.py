"""Traffic: what it counts once, and what it hears of those who read."""

from __future__ import annotations

import types
from typing import Any, cast

import pytest
from prometheus_client import Counter

from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators import series
from tests.model.play import (
    ABROAD,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    Play,
)

USER, OTHER = "@r:here", "@q:here"


def counted(play: Play, metric: Counter, label: str) -> dict[str, float]:
    """Return what was counted so far, by a label."""
    return {labels[label]: n for labels, n in play.traffic.metrics.read(metric)}


def test_how_long_sorting_takes_is_counted() -> None:
    """In seconds, and not since when."""
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
    play.begin(NOTICE)
    play.hs.take_all_steps()
    assert not play.begin(NOTICE).waited
    last.hangs = False
    play.hs.come_to_rest()
    play.send(NOTICE)

    assert play.send(NOTICE).left_out


def test_an_olm_message_counts_once_for_what_it_rearms() -> None:
    """It is marked twice only where a notice may have come in between."""
    play = Play()
    play.send_abroad(NOTICE)
    play.send(NOTICE)
    before = counted(play, series.REARMED, "direction").get("to_recipient", 0)
    play.send(OLM, message_type=ENCRYPTED)

    assert 1 + before == counted(play, series.REARMED, "direction")["to_recipient"]


def test_an_answer_rearms_what_was_sorted_while_it_was_stored() -> None:
    """One from another server answers what waits for that server."""
    play = Play()
    play.begin(OLM, message_type=ENCRYPTED, sender=ABROAD, edu=("there", "1"))
    play.begin_abroad(NOTICE, sender=RECIPIENT)
    play.hs.come_to_rest()

    assert not play.send_abroad(NOTICE, sender=RECIPIENT).left_out
    assert play.send_abroad(NOTICE, sender=RECIPIENT).left_out


def test_a_request_without_messages_lets_nobody_go() -> None:
    """It is nobody's, and no failure either."""
    play = Play()
    play.send(NOTICE)
    waits = play.begin(NOTICE)
    play.begin_all({})

    assert waits.handed is None
    assert [] == play.failures


def test_what_fails_before_anything_is_stored_counts_as_not_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message passes; what it would have re-armed is not believed any more."""
    play = Play()
    play.send(NOTICE)
    before = counted(play, series.FAILURES, "stage")
    monkeypatch.setattr(Memory, "rearm_users", lambda *_: 1 // 0)
    assert play.send(OLM, message_type=ENCRYPTED).stream_id

    now = counted(play, series.FAILURES, "stage")
    assert {"decide": 1} == {
        stage: more for stage, n in now.items() if (more := n - before.get(stage, 0))
    }
    assert 0 == len(play.memory)


def test_who_reads_for_all_devices_of_a_user_is_handed_all_that_they_have() -> None:
    """As bridges do; nobody else's mailboxes are meant."""
    memory = Memory(Limits(1000), sees_reads=True, hold_s=None)
    mailboxes = [
        memory.open(key, 3) for key in [(USER, "A"), (USER, "B"), (OTHER, "A")]
    ]
    inbox = types.SimpleNamespace(memory=memory)
    traffic = Traffic(cast(Any, inbox), *cast(Any, [None] * 10))
    traffic.note_read_of_user(USER, 7)

    assert [7, 7, 3] == [mailbox.handed_out for mailbox in mailboxes]

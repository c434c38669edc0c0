"""What waits for other servers, as far as random plays do not reach it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from synapse_withheld.delivery import settling
from tests.model.play import (
    ABROAD,
    CONFIRM_ABROAD,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    WITHHELD,
    Play,
)


def test_a_duplicate_in_the_outbox_collapses() -> None:
    """Though its device changed: what is queued reaches the one that is there then."""
    play = Play()
    play.send_abroad(NOTICE)
    play.hs.change_device(ABROAD, "A")
    repeats = [play.begin_abroad({**NOTICE, "reason": again}) for again in "ab"]
    assert play.steps() == [CONFIRM_ABROAD]
    play.hs.come_to_rest()

    assert all(each.left_out for each in repeats)
    assert [1] == play.outbox()


def test_only_what_collapses_is_taken_out_of_an_edu() -> None:
    """The caller's EDU stays as it is; message ID and order stay in the copy."""
    play = Play()
    play.send_abroad(NOTICE, "B")
    other = {"code": "m.other"}
    contents = {(ABROAD, "A"): NOTICE, (ABROAD, "B"): NOTICE, (ABROAD, "C"): other}
    edu = play.begin_all(contents).edus["there"]
    before = json.dumps(edu)
    play.hs.come_to_rest()

    expected = {ABROAD: {"A": NOTICE, "C": other}}
    assert {**edu, "messages": expected} == play.hs.outbox("there")[2]
    assert before == json.dumps(edu)


def test_one_call_may_be_for_many_servers() -> None:
    """As in the older shape of the store; each EDU is taken for itself."""
    play = Play()
    play.send_abroad(NOTICE)
    for _ in range(2):
        play.begin_all({("@a:there", "A"): NOTICE, ("@a:elsewhere", "A"): NOTICE})
        play.hs.come_to_rest()

    assert [1] == play.outbox()
    assert [2] == [*play.hs.outbox("elsewhere")]


def test_an_edu_that_holds_more_is_left_alone() -> None:
    """Deleting it would lose what else is in it."""
    play = Play()
    play.send_abroad(NOTICE, ["A", "B"])
    play.send_abroad(NEW_KEY)
    assert [1, 2] == play.outbox()

    play.send_abroad({**NOTICE, "sender_key": "newer"})
    assert [1, 3] == play.outbox()


@pytest.mark.parametrize("fails", [False, True])
def test_an_edu_is_stored_whole_where_it_cannot_be_taken_apart(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Taking A out of {*, A} would send the message to every device."""
    play = Play()
    play.send_abroad(NOTICE)
    if fails:
        monkeypatch.setattr(settling, "without_collapsed", lambda *_: 1 // 0)
    devices = ["B" if fails else "*", "A"]
    play.send_abroad(NOTICE, devices)

    assert devices == [*play.hs.outbox("there")[2]["messages"][ABROAD]]


def test_edus_that_synapse_does_not_make_pass_as_they_are() -> None:
    """Of two senders, to a server of other users, or of another form."""
    play = Play()
    play.send_abroad(NOTICE)
    notice = {"messages": {ABROAD: {"A": NOTICE}}, "type": WITHHELD}
    written = []

    async def write(_: Any, edus: Any) -> None:
        written.append(edus)

    strange: list[Any] = [
        {"there": {**notice, "sender": "@s:here"}, "x": {**notice, "sender": "@t:x"}},
        {"elsewhere": {**notice, "sender": "@s:here"}},
        {"there": notice},
        {"there": None},
        {"there": {**notice, "sender": "@s:here", "messages": None}},
    ]
    for edus in strange:
        ensureDeferred(play.traffic.store({}, edus, write))
        assert edus == written.pop()
    # It doubts what it remembers where it does not understand what it sees.
    play.failures.clear()


def test_switched_off_everything_is_stored() -> None:
    """`outbox: false`; Olm messages still re-arm what waits here."""
    play = Play(outbox=False)
    play.send_abroad(NOTICE)
    play.send_abroad(NOTICE)
    assert [1, 2] == play.outbox()

    play.send(NOTICE, sender=ABROAD)
    answer = {**OLM, "ciphertext": {"key": 0}}
    play.send_abroad(answer, message_type=ENCRYPTED, sender=RECIPIENT)
    play.send(NOTICE, sender=ABROAD)
    assert [5] == play.queued()

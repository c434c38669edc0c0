"""A cancelled request vanishes with its cancellation, and no client is worse off.

That no order of messages, statements and syncs makes a client worse off is played in
`test_rules.py`; here is what it does not reach.
"""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery.housekeeping import learning
from tests.model.client import KEY_REQUEST, SECRET_REQUEST
from tests.model.faults import lost
from tests.model.play import CONFIRM, RECIPIENT, Play

VANISH = RulesConfig(
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)
CANCELLATION: dict[str, Any] = {
    "action": "request_cancellation",
    "requesting_device_id": "S1",
    "request_id": "1",
}
REQUEST = {**CANCELLATION, "action": "request", "body": {"session_id": "session"}}
OTHER = {**REQUEST, "body": {"session_id": "another"}}
DELETE_VANISHED = "withheld_delete_vanished"


def play(**config: Any) -> Play:
    """Return a homeserver on which cancelled requests vanish."""
    return Play(**{"rules": VANISH, "sees_reads": True, **config})


def send(on: Play, *contents: dict[str, Any], **more: Any) -> None:
    """Send requests and cancellations one after the other."""
    for content in contents:
        on.send(content, **{"message_type": KEY_REQUEST, **more})


def begin(on: Play, *contents: dict[str, Any]) -> None:
    """Send them at once; the test takes the steps."""
    for content in contents:
        on.begin(content, message_type=KEY_REQUEST)


@pytest.mark.parametrize("message_type", [KEY_REQUEST, SECRET_REQUEST])
@pytest.mark.parametrize("read", ["", "handed out", "acknowledged"])
def test_what_nobody_was_handed_vanishes(message_type: str, read: str) -> None:
    """Whoever was asked hears of it, whether the answer of the sync arrived or not."""
    on = play()
    send(on, REQUEST, message_type=message_type)
    if read:
        up_to = on.read()
    if read == "acknowledged":
        on.hs.acknowledge(RECIPIENT, "R", up_to)
    send(on, CANCELLATION, message_type=message_type)

    assert ([2] if read else []) == on.queued()
    assert bool(read) == bool(on.memory.pairs)


def test_where_it_cannot_be_known_who_was_asked_the_cancellation_stays() -> None:
    """As with `true`, in observe, and for other servers."""
    for on in (play(rules=RulesConfig(key_requests=True)), play(sees_reads=False)):
        send(on, REQUEST, CANCELLATION)
        assert [2] == on.queued()
        assert 0 == len(on.memory.vanishing)
    on = play(mode="observe")
    send(on, REQUEST, CANCELLATION)
    assert [1, 2] == on.queued()
    on = play()
    for content in (REQUEST, CANCELLATION):
        on.send_abroad(content, message_type=KEY_REQUEST)
    assert [2] == on.outbox()


def test_a_request_from_before_the_start_is_taken_back() -> None:
    """However late it is found: nobody knows whether it was handed out."""
    on = play()
    send(on, REQUEST)
    on.load()
    begin(on, OTHER, CANCELLATION)
    learn = on.until("withheld_read_mailboxes")
    learn.hangs = True
    on.hs.take_all_steps()
    on.hs.pass_time(1.0)
    assert 3 in on.queued()
    learn.hangs = False
    on.hs.come_to_rest()

    assert [3] == on.queued()


def test_in_a_mailbox_that_is_not_read_to_its_end_the_cancellation_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request may lie deeper than that."""
    monkeypatch.setattr(learning, "MOST_PAGES", 1)
    on = play()
    on.fill("R", [REQUEST], type=KEY_REQUEST)
    on.fill("R", [{"n": number} for number in range(1200)], type="m.dummy")
    send(on, OTHER, CANCELLATION)

    assert [1, 1203] == [each for each in on.queued() if each in {1, 1202, 1203}]
    # Nor is it found, but by a sweep.
    on.is_tidy = False


@pytest.mark.parametrize("while_read", [False, True])
def test_what_was_asked_by_a_message_for_all_that_came_unseen_is_taken_back(
    while_read: bool,
) -> None:
    """The mailbox was opened and learned, or is read, while that was on its way."""
    on = play()
    on.begin(REQUEST, "*", message_type=KEY_REQUEST)
    for_all = on.step("store")
    for_all.hangs = True
    begin(on, {**REQUEST, "request_id": "2"})
    if while_read:
        on.until("withheld_read_gone").hangs = True
    else:
        on.hs.take_all_steps()
        on.hs.pass_time(1.0)
        assert on.knows()
    for_all.hangs = False
    on.hs.answer(for_all)
    on.hs.take_all_steps()
    for step in on.hs.ours():
        step.hangs = False
    begin(on, OTHER, CANCELLATION)
    on.hs.come_to_rest()

    assert {"2"} == {each["request_id"] for each in on.contents()}


@pytest.mark.parametrize("fails", [DELETE_VANISHED, CONFIRM])
def test_where_a_statement_fails_the_cancellation_stays(fails: str) -> None:
    """It is not deleted twice, as nobody knows what became of it."""
    on = play()
    send(on, REQUEST)
    begin(on, CANCELLATION)
    on.hs.answer(on.until(fails), lost())
    on.hs.come_to_rest()
    assert [2] == on.queued()

    send(on, REQUEST, CANCELLATION)
    assert [] == [each for each in on.queued() if each > 4]


def test_a_deletion_that_comes_between_keeps_the_cancellation() -> None:
    """Rows are deleted by it, or stay."""
    on = play()
    send(on, REQUEST)
    on.hs.doom(RECIPIENT, "R", 1)
    send(on, CANCELLATION)
    assert [1, 2] == on.queued()

    on = play()
    send(on, REQUEST)
    begin(on, CANCELLATION)
    on.until(DELETE_VANISHED)
    on.hs.doom(RECIPIENT, "R", 2)
    on.hs.come_to_rest()
    assert [2] == on.queued()
    on.is_tidy = False


def test_an_id_that_is_used_again_after_a_start_is_not_recognised() -> None:
    """The one play in which a device does not hear of it: nobody can know."""
    for left, starts in ([3], False), ([], True):
        on = play()
        send(on, REQUEST)
        on.sync()
        if starts:
            on.load()
        send(on, REQUEST, CANCELLATION)
        assert left == on.queued()

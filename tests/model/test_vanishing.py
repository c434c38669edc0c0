"""A cancelled request vanishes with its cancellation, and no client is worse off.

That no order of messages, statements and syncs makes a client worse off is played in
`test_rules.py`; here is what it does not reach.
"""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery.housekeeping import learning
from tests.model.client import KEY_REQUEST, SECRET_REQUEST, Client
from tests.model.faults import LostError
from tests.model.messages import request
from tests.model.play import ABROAD, CONFIRM, RECIPIENT, Play
from tests.model.test_rules import VANISH

REQUEST = request(KEY_REQUEST, "request", "1", "session")
OTHER = request(KEY_REQUEST, "request", "1", "another")
CANCELLATION = request(KEY_REQUEST, "request_cancellation", "1", "")
DELETE_VANISHED = "withheld_delete_vanished"


def play(**config: Any) -> Play:
    """Return a homeserver on which cancelled requests vanish."""
    return Play(**{"rules": VANISH, "sees_reads": True, **config})


@pytest.mark.parametrize("message_type", [KEY_REQUEST, SECRET_REQUEST])
@pytest.mark.parametrize("read", ["", "handed out", "acknowledged"])
def test_what_nobody_was_handed_vanishes(message_type: str, read: str) -> None:
    """Whoever was asked hears of it, whether the answer of the sync arrived or not."""
    on = play()
    on.send_each(request(message_type, "request", "1", "session"))
    if read:
        up_to = on.read()
    if read == "acknowledged":
        on.hs.acknowledge(RECIPIENT, "R", up_to)
    on.send_each(request(message_type, "request_cancellation", "1", ""))

    assert ([2] if read else []) == on.queued()
    assert bool(read) == bool(on.memory.pairs)


def test_where_it_cannot_be_known_who_was_asked_the_cancellation_stays() -> None:
    """As with `true`, in observe, and for other servers."""
    for on in (play(rules=RulesConfig(key_requests=True)), play(sees_reads=False)):
        on.send_each(REQUEST, CANCELLATION)
        assert [2] == on.queued()
        assert 0 == len(on.memory.vanishing)
    on = play(mode="observe")
    on.send_each(REQUEST, CANCELLATION)
    assert [1, 2] == on.queued()
    on = play()
    on.send_each(REQUEST, CANCELLATION, to_user=ABROAD)
    assert [2] == on.outbox()


def test_a_request_from_before_the_start_is_taken_back() -> None:
    """However late it is found: nobody knows whether it was handed out."""
    on = play()
    on.send_each(REQUEST)
    on.load()
    on.begin_each(OTHER, CANCELLATION)
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
    on.fill("R", [REQUEST[1]], type=KEY_REQUEST)
    on.fill("R", [{"n": number} for number in range(1200)], type="m.dummy")
    on.send_each(OTHER, CANCELLATION)

    assert [1, 1203] == [each for each in on.queued() if each in {1, 1202, 1203}]
    # Nor is it found, but by a sweep.
    on.is_tidy = False


@pytest.mark.parametrize("while_read", [False, True])
def test_what_was_asked_by_a_message_for_all_that_came_unseen_is_taken_back(
    while_read: bool,
) -> None:
    """The mailbox was opened and learned, or is read, while that was on its way."""
    on = play()
    on.begin_each(REQUEST, to="*")
    for_all = on.step("store")
    for_all.hangs = True
    on.begin_each(request(KEY_REQUEST, "request", "2", "session"))
    if while_read:
        on.until("withheld_read_gone").hangs = True
    else:
        on.hs.take_all_steps()
        on.hs.pass_time(1.0)
        assert on.knows()
    on.hs.answer(for_all)
    on.hs.take_all_steps()
    for step in on.hs.ours():
        step.hangs = False
    on.begin_each(OTHER, CANCELLATION)
    on.hs.come_to_rest()

    assert {"2"} == {each["request_id"] for each in on.contents()}


@pytest.mark.parametrize("opened", ["by what was sent to all", "by name"])
def test_what_all_devices_were_asked_and_one_was_handed_is_taken_back(
    opened: str,
) -> None:
    """It was read and acknowledged before anybody looked at the mailbox."""
    on = play()
    on.begin_each(request(KEY_REQUEST, "request", "2", "session"), REQUEST, to="*")
    for name in ("store", "stored") * 2:
        on.hs.answer(next(each for each in on.hs.steps if each.name == name))
    on.sync()
    if opened == "by name":
        on.step("withheld_read_devices").hangs = True
        on.begin_each(REQUEST, CANCELLATION)
        on.hs.take_all_steps()
        on.hs.pass_time(1)
        on.step("withheld_read_devices").hangs = False
    on.hs.come_to_rest()
    if opened == "by what was sent to all":
        on.send_each(REQUEST, CANCELLATION)

    assert [4] == on.queued()


def test_while_a_message_for_all_is_stored_no_cancellation_vanishes() -> None:
    """Readers may see it before it is known at which position it is."""
    on = play()
    on.begin(REQUEST[1], "*", message_type=KEY_REQUEST)
    for_all = on.step("store")
    for_all.hangs = True
    on.begin_each(REQUEST, CANCELLATION)
    on.hs.take_all_steps()
    for_all.hangs = False
    on.hs.answer(for_all)
    on.step("stored").hangs = True
    on.hs.come_to_rest()
    assert [1, 3] == on.queued()


@pytest.mark.parametrize("fails", [DELETE_VANISHED, CONFIRM])
def test_where_a_statement_fails_the_cancellation_stays(fails: str) -> None:
    """It is not deleted twice, as nobody knows what became of it."""
    on = play()
    on.send_each(REQUEST)
    on.begin_each(CANCELLATION)
    on.hs.answer(on.until(fails), LostError())
    on.hs.come_to_rest()
    assert [2] == on.queued()

    on.send_each(REQUEST, CANCELLATION)
    assert [] == [each for each in on.queued() if each > 4]


def test_a_deletion_that_comes_between_keeps_the_cancellation() -> None:
    """Rows are deleted by it, or stay."""
    on = play()
    on.send_each(REQUEST)
    on.hs.doom(RECIPIENT, "R", 1)
    on.send_each(CANCELLATION)
    assert [1, 2] == on.queued()

    on = play()
    on.send_each(REQUEST)
    on.begin_each(CANCELLATION)
    on.until(DELETE_VANISHED)
    on.hs.doom(RECIPIENT, "R", 2)
    on.hs.come_to_rest()
    assert [2] == on.queued()
    on.is_tidy = False


def test_an_id_that_is_used_again_after_a_start_is_not_recognised() -> None:
    """The device does not hear that it is taken back: nobody can know."""
    for left, starts in ([3], False), ([], True):
        on = play()
        on.send_each(REQUEST)
        on.sync()
        if starts:
            on.load()
        on.send_each(REQUEST, CANCELLATION)
        assert left == on.queued()


def test_a_long_request_from_before_the_start_is_not_taken_back() -> None:
    """Of rows so long not enough is read to know what they are; no client sends it."""
    for padding, left in (0, [3]), (2048, [1]):
        on = play()
        long = {**REQUEST[1], "padding": "x" * padding}
        on.fill("R", [long], type=KEY_REQUEST)
        on.send_each(REQUEST, CANCELLATION)
        assert left == on.queued()


class Stage:
    """A request, its cancellation and two syncs, taken one move at a time.

    A move is the number of a sync, which begins or ends with it, or -1: what the
    cancellation brings with it goes on.
    """

    def __init__(self, arrives: tuple[bool, bool]) -> None:
        self.on = play()
        self.on.send_each(request(KEY_REQUEST, "request", "other", "session"), REQUEST)
        self.client, self.token = Client(), 0
        self.syncs = {number: self._sync(each) for number, each in enumerate(arrives)}
        self.on.begin_each(CANCELLATION)

    def _sync(self, arrives: bool) -> Iterator[None]:
        up_to, since = self.on.read(), self.token
        yield
        rows = self.on.hs.mailbox(RECIPIENT, "R", since, up_to)
        if arrives and since == self.token:
            self.client.give(rows.values())
            self.token = up_to

    def moves(self) -> list[int]:
        """Return the moves there are."""
        goes_on = self.on.hs.steps or self.on.hs.clock.getDelayedCalls()
        return [*([-1] if goes_on else []), *self.syncs]

    def take(self, move: int) -> None:
        """Take one."""
        hs = self.on.hs
        if move < 0 and hs.steps:
            hs.take_step()
        elif move < 0:
            hs.go_to(hs.soonest_s)
        elif next(self.syncs[move], self) is self:
            del self.syncs[move]


@pytest.mark.parametrize("arrives", [(True, True), (False, True)])
def test_no_interleaving_loses_a_cancellation(arrives: tuple[bool, bool]) -> None:
    """Of a store, the tidying and two syncs: all there are."""
    vanished = played = 0
    waiting: list[list[int]] = [[]]
    while waiting:
        moves, stage = waiting.pop(), Stage(arrives)
        for move in moves:
            stage.take(move)
        while can := stage.moves():
            waiting += [[*moves, other] for other in can[1:]]
            moves = [*moves, can[0]]
            stage.take(can[0])
        rest = stage.on.hs.mailbox(RECIPIENT, "R", stage.token)
        stage.client.give(rest.values())
        assert ["other"] == [request for *_, request in stage.client.asked]
        played += 1
        vanished += [1] == Play.made.pop().queued()

    assert played > 900
    assert played > vanished > 0

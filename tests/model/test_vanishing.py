"""A cancelled request vanishes with its cancellation, and no client is worse off."""

from __future__ import annotations

from typing import Any, Callable, Iterator

import pytest
from twisted.internet.defer import ensureDeferred

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery.housekeeping import learning
from tests.model.client import KEY_REQUEST, SECRET_REQUEST, Client
from tests.model.faults import lost
from tests.model.homeserver import Step
from tests.model.play import RECIPIENT, Play

VANISH = RulesConfig(
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)
REQUEST: dict[str, Any] = {
    "action": "request",
    "requesting_device_id": "S1",
    "request_id": "1",
    "body": {"session_id": "session"},
}
OTHER = {**REQUEST, "body": {"session_id": "another"}}
CANCELLATION: dict[str, Any] = {
    "action": "request_cancellation",
    "requesting_device_id": "S1",
    "request_id": "1",
}
READ_QUEUED = "withheld_read_queued"
DELETE_VANISHED = "withheld_delete_vanished"
BOTH = pytest.mark.parametrize("message_type", [KEY_REQUEST, SECRET_REQUEST])


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


# What goes and what stays.


@BOTH
def test_what_nobody_was_handed_vanishes(message_type: str) -> None:
    """Nothing is remembered of it either."""
    on = play()
    send(on, REQUEST, CANCELLATION, message_type=message_type)

    assert [] == on.queued()
    assert 0 == on.memory.pairs


@BOTH
@pytest.mark.parametrize("acknowledges", [False, True])
def test_whoever_was_asked_hears_that_it_was_taken_back(
    message_type: str, acknowledges: bool
) -> None:
    """Whether the answer of the sync arrived or not."""
    on = play()
    send(on, REQUEST, message_type=message_type)
    up_to = on.read()
    if acknowledges:
        on.hs.acknowledge(RECIPIENT, "R", up_to)
    send(on, CANCELLATION, message_type=message_type)

    assert [2] == on.queued()


def test_what_is_between_stays() -> None:
    """Other requests, and whatever else there is."""
    on = play()
    send(on, REQUEST, {**REQUEST, "request_id": "2"})
    on.send({"n": 1}, message_type="m.dummy")
    send(on, CANCELLATION)

    assert [2, 3] == on.queued()


def test_a_flood_that_is_taken_back_leaves_nothing() -> None:
    """All at once, repeated, and to all devices."""
    on = play()
    on.hs.add_device(RECIPIENT, "R2")
    # The first that comes opens a mailbox.
    send(on, {**REQUEST, "request_id": "first"}, {**CANCELLATION, "request_id": "1"})
    for device in ("R", "R2"):
        send(on, {**REQUEST, "request_id": "first"}, to=device)
    for action in (REQUEST, REQUEST, CANCELLATION):
        for number in range(20):
            content = {**action, "request_id": f"flood {number}"}
            on.begin(content, "*", message_type=KEY_REQUEST)
    on.hs.come_to_rest()

    assert [1] == [len(on.queued("R2"))]
    assert 2 == len(on.queued())


def test_with_several_cancellations_nothing_stays() -> None:
    """However they are tidied."""
    on = play()
    send(on, REQUEST)
    begin(on, CANCELLATION, CANCELLATION, CANCELLATION)
    on.hs.come_to_rest()

    assert [] == on.queued()


def test_with_true_the_cancellation_stays() -> None:
    """As where no read is seen, in observe, and for other servers."""
    for on in (
        play(rules=RulesConfig(key_requests=True)),
        play(sees_reads=False),
    ):
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


def test_verifications_stay_as_they_are() -> None:
    """A `start` that is left alone opens one."""
    on = play(rules=RulesConfig(key_requests="vanish", verification_requests=True))
    for kind in ("request", "cancel"):
        on.send({"transaction_id": "1"}, message_type=f"m.key.verification.{kind}")

    assert [2] == on.queued()


# After a start.


def test_a_request_from_before_the_start_is_taken_back() -> None:
    """Nobody knows whether it was handed out, though a repeat of it was not."""
    on = play()
    send(on, REQUEST)
    on.load()
    begin(on, OTHER, CANCELLATION)
    on.hs.come_to_rest()

    assert [3] == on.queued()


def test_a_request_from_before_the_start_is_found_however_late() -> None:
    """What was asked since is tidied before its mailbox is learned."""
    on = play()
    send(on, REQUEST)
    on.load()
    begin(on, OTHER, CANCELLATION)
    while "withheld_read_mailboxes" not in on.steps():
        on.hs.take_step()
    learn = on.step("withheld_read_mailboxes")
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


def test_what_was_asked_by_a_message_for_all_that_came_unseen_is_taken_back() -> None:
    """The mailbox was opened, and learned, while that was on its way."""
    on = play()
    on.begin(REQUEST, "*", message_type=KEY_REQUEST)
    for_all = on.step("store")
    for_all.hangs = True
    on.begin({"n": 1}, message_type=KEY_REQUEST)
    begin(on, {**REQUEST, "request_id": "2"})
    on.hs.take_all_steps()
    on.hs.pass_time(1.0)
    assert on.knows()
    for_all.hangs = False
    on.hs.take_all_steps()
    begin(on, OTHER, CANCELLATION)
    on.hs.come_to_rest()

    assert {"2"} == {each["request_id"] for each in on.contents() if each.get("action")}


def test_what_comes_unseen_while_a_mailbox_is_read_keeps_the_cancellation() -> None:
    """The page was read before it was stored, and is learned afterwards."""
    on = play()
    on.begin(REQUEST, "*", message_type=KEY_REQUEST)
    for_all = on.step("store")
    for_all.hangs = True
    begin(on, {**REQUEST, "request_id": "2"})
    while "withheld_read_gone" not in on.steps():
        go_on(on)
    learn = on.step("withheld_read_gone")
    learn.hangs, for_all.hangs = True, False
    while for_all in on.hs.steps or "stored" in on.steps():
        go_on(on)
    learn.hangs = False
    on.hs.answer(learn)
    begin(on, OTHER, CANCELLATION)
    while CANCELLATION not in on.contents():
        go_on(on)
    on.hs.come_to_rest()

    assert {"2"} == {each["request_id"] for each in on.contents() if each.get("action")}


def test_what_may_be_answered_late_is_not_deleted_twice() -> None:
    """The cancellation that a failed statement was to delete stays."""
    on = play()
    send(on, REQUEST)
    begin(on, CANCELLATION)
    fail(on, DELETE_VANISHED)

    assert [2] == on.queued()
    send(on, REQUEST, CANCELLATION)
    assert [] == [each for each in on.queued() if each > 2]


def test_where_nobody_tells_what_became_of_it_the_cancellation_stays() -> None:
    """The request went, and the answer was lost."""
    on = play()
    send(on, REQUEST)
    begin(on, CANCELLATION)
    fail(on, READ_QUEUED)

    assert [2] == on.queued()
    mailbox = on.memory.peek((RECIPIENT, "R"))
    assert mailbox is not None
    assert mailbox.asked is not None
    assert {} == mailbox.asked.going


def fail(on: Play, name: str) -> None:
    """Let the next statement of a name fail, and all others be answered."""
    while name not in on.steps():
        go_on(on)
    on.hs.answer(on.step(name), lost())
    on.hs.come_to_rest()


def go_on(on: Play) -> None:
    """Take a step, or wait for one."""
    if on.hs.steps:
        on.hs.take_step()
    else:
        on.hs.pass_time(0.01)


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
    while DELETE_VANISHED not in on.steps():
        go_on(on)
    on.hs.doom(RECIPIENT, "R", 2)
    on.hs.come_to_rest()
    assert [2] == on.queued()
    on.is_tidy = False


def test_an_id_that_is_used_again_after_a_start_is_not_recognised() -> None:
    """The one play in which a device does not hear of it: nobody can know."""
    on = play()
    send(on, REQUEST)
    on.sync()
    on.load()
    send(on, REQUEST, CANCELLATION)
    assert [] == on.queued()

    # Without a start it is known.
    on = play()
    send(on, REQUEST)
    on.sync()
    send(on, REQUEST, CANCELLATION)
    assert [3] == on.queued()


# Interleavings.

# A store of the cancellation and all that follows from it; and two syncs, of which each
# begins, reads, and arrives or is lost.
GO, SYNCS = "go", ("sync 1", "sync 2")


class Stage:
    """A request, its cancellation and two syncs, taken one move at a time."""

    def __init__(self, arrives: tuple[bool, bool]) -> None:
        self.on = play()
        send(self.on, {**REQUEST, "request_id": "other"}, REQUEST)
        self.client, self.token = Client(), 0
        self.arrives = dict(zip(SYNCS, arrives))
        self.moves: dict[str, int] = dict.fromkeys(SYNCS, 0)
        self.reads: dict[str, Step] = {}
        begin(self.on, CANCELLATION)

    def can(self) -> list[str]:
        """Return the moves there are."""
        syncs = [each for each in SYNCS if self.moves[each] < 2]
        hs = self.on.hs
        goes_on = bool(self._statements() or hs.clock.getDelayedCalls())
        return [*([GO] if goes_on else []), *syncs]

    def take(self, move: str) -> None:
        """Take one."""
        if move != GO:
            self._sync(move)
        elif self._statements():
            self.on.hs.answer(self._statements()[0])
        else:
            calls = self.on.hs.clock.getDelayedCalls()
            soonest = min(each.getTime() for each in calls)
            self.on.hs.clock.advance(soonest - self.on.hs.clock.seconds())

    def end(self) -> None:
        """Let all come to rest and the client read the rest."""
        for sync in SYNCS:
            while self.moves[sync] < 2:
                self._sync(sync)
        self.on.hs.come_to_rest()
        rest = self.on.hs.mailbox(RECIPIENT, "R", self.token)
        self.client.give(message for _, message in rest)
        left = {request for *_, request in self.client.asked}
        assert {"other"} == left

    def _statements(self) -> list[Step]:
        return [step for step in self.on.hs.steps if step.name != "read"]

    def _sync(self, name: str) -> None:
        self.moves[name] += 1
        if self.moves[name] == 1:
            ensureDeferred(self._answer(name))
            self.reads[name] = self.on.hs.steps[-1]
        else:
            self.on.hs.answer(self.reads[name])

    async def _answer(self, name: str) -> None:
        token, since = self.on.read(), self.token
        rows = await self.on.hs.read(RECIPIENT, "R", since, token)
        if self.arrives[name] and since == self.token:
            self.client.give(message for _, message in rows)
            self.token = token


def plays(stage: Callable[[], Stage]) -> Iterator[tuple[str, ...]]:
    """Play every order of moves; yield each after it was played."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        moves = waiting.pop()
        on = stage()
        for move in moves:
            on.take(move)
        while can := on.can():
            waiting.extend((*moves, other) for other in can[1:])
            moves = (*moves, can[0])
            on.take(can[0])
        on.end()
        yield moves


@pytest.mark.parametrize("arrives", [(True, True), (False, True)])
def test_no_interleaving_loses_a_cancellation(arrives: tuple[bool, bool]) -> None:
    """Of a store, the tidying and two syncs: all there are."""
    vanished = played = 0
    for _ in plays(lambda: Stage(arrives)):
        on = Play.made.pop()
        played += 1
        vanished += [1] == on.queued()

    assert played > 900
    assert played > vanished > 0

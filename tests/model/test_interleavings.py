"""No order in which a cancellation is stored and read makes it vanish wrongly."""

from __future__ import annotations

from typing import Callable, Iterator

import pytest
from twisted.internet.defer import ensureDeferred

from tests.model.client import Client
from tests.model.homeserver import Step
from tests.model.play import RECIPIENT, Play
from tests.model.test_vanishing import CANCELLATION, REQUEST, begin, play, send

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

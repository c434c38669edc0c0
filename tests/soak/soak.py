"""A life on two homeservers at the same time, and what befalls them."""

from __future__ import annotations

import functools
import random
import sys
import time
from typing import Awaitable, Callable, Iterator

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from tests.harness.servers.postgres import PostgresServer
from tests.harness.waiting import pause, together
from tests.soak.lane import Lane
from tests.soak.life import Life, Step
from tests.soak.resources import MIB, Sample, look

AT_ONCE = 8
TELL_EVERY_S, LOOK_EVERY_S, FAULT_EVERY_S = 30.0, 5.0, 12.0
# The longest that it takes until what a process holds has become steady.
STEADY_AFTER_S = 600.0

Fault = Callable[[], Awaitable[object]]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 progress


@attrs.define(eq=False)
class Soak:
    """A life on two homeservers.

    Faults befall them at the beginning and near the end. In between it is quiet, so
    that what the processes hold can be compared.

    Attributes:
        samples: What each homeserver held, by its name.
        met: How many faults there were.
    """

    seconds: float
    life: Life
    lanes: tuple[Lane, Lane]
    postgres: PostgresServer
    chance: random.Random
    samples: dict[str, list[Sample]] = attrs.Factory(dict)
    steps: int = 0
    met: int = 0
    _began: float = attrs.Factory(time.monotonic)
    _running: set[Step] = attrs.Factory(set)
    _errors: list[Failure] = attrs.Factory(list)
    _freed: Deferred[None] = attrs.Factory(Deferred)

    @property
    def quiet_s(self) -> tuple[float, float]:
        """Return from when on what the processes hold must not grow, and until when."""
        return min(STEADY_AFTER_S, self.seconds / 3), self.seconds * 0.8

    async def live(self) -> None:
        beside = [ensureDeferred(each) for each in (self._befall(), self._look())]
        for step in self.life.steps():
            while self._is_busy(step):
                await self._one_ends()
            self._begin(step)
            if self._is_over():
                break
        while self._running:
            await self._one_ends()
        for each in beside:
            await each
        for error in self._errors:
            error.raiseException()

    async def read_all(self) -> None:
        for step in self.life.last_reads():
            await together(*(step.act(lane) for lane in self.lanes))

    def _is_busy(self, step: Step) -> bool:
        busy = {user for other in self._running for user in other.users}
        return len(self._running) >= AT_ONCE or not busy.isdisjoint(step.users)

    def _begin(self, step: Step) -> None:
        self._running.add(step)

        def end(result: object) -> None:
            self._running.discard(step)
            self.steps += 1
            if isinstance(result, Failure):
                self._errors.append(result)
            if not self._freed.called:
                self._freed.callback(None)

        both = together(*(step.act(lane) for lane in self.lanes))
        ensureDeferred(both).addBoth(end)

    async def _one_ends(self) -> None:
        self._freed = Deferred()
        await self._freed

    async def _befall(self) -> None:
        """Bring about faults at the beginning and near the end."""
        quiet_from_s, quiet_until_s = self.quiet_s
        for what, fault in self._faults():
            await self._sleep(FAULT_EVERY_S)
            if self._elapsed_s() > quiet_from_s / 2:
                await self._sleep(quiet_until_s - self._elapsed_s())
            if self._is_over() or self._elapsed_s() > self.seconds * 0.9:
                return
            say(f"{self._elapsed_s():6.0f} s  {what}")
            self.met += 1
            await fault()

    def _faults(self) -> Iterator[tuple[str, Fault]]:
        """Return what happens next, each kind as often as the others, and its name."""
        while True:
            kinds: list[tuple[str, Fault]] = [("database", self._restart_database)]
            for lane in self.lanes:
                end = {"restart": lane.homeserver.stop, "kill -9": lane.homeserver.kill}
                for how, ends in end.items():
                    die = functools.partial(lane.die, ends)
                    kinds.append((f"{how} of {lane.name}", die))
            self.chance.shuffle(kinds)
            yield from kinds

    async def _restart_database(self) -> None:
        stock, module = self.lanes
        with stock.patience.troubled(), module.patience.troubled():
            await deferToThread(self.postgres.restart)

    async def _look(self) -> None:
        """Look what the homeservers hold, and tell it now and then."""
        told_s = 0.0
        while not self._is_over():
            for lane in self.lanes:
                sample = await look(lane.homeserver, self._elapsed_s())
                if sample is not None:
                    self.samples.setdefault(lane.name, []).append(sample)
            if self._elapsed_s() > told_s + TELL_EVERY_S:
                told_s = self._elapsed_s()
                held = (each[-1].held[MIB] for each in self.samples.values())
                memory = " and ".join(f"{mib:.0f} MiB" for mib in held)
                say(f"{told_s:6.0f} s  {self.steps:,} steps, {memory}")
            await self._sleep(LOOK_EVERY_S)

    async def _sleep(self, seconds: float) -> None:
        until = self._elapsed_s() + seconds
        while self._elapsed_s() < until and not self._is_over():
            await pause(0.5)

    def _is_over(self) -> bool:
        return bool(self._errors) or self._elapsed_s() > self.seconds

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

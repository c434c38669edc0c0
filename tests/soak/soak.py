"""A life on two homeservers at the same time, and what befalls them."""

from __future__ import annotations

import functools
import random
import time
from collections import defaultdict
from math import inf
from pathlib import Path
from typing import Awaitable, Callable, Iterator

import attrs
from twisted.internet.defer import DeferredList, DeferredLock
from twisted.internet.threads import deferToThread

from tests.demo.output import say
from tests.harness.samples import FAILURES, HOUSEKEEPING, total
from tests.harness.servers.postgres import PostgresServer
from tests.harness.waiting import pause, together
from tests.soak.lane import Lane
from tests.soak.life import Life, Step
from tests.soak.people import User

AT_ONCE = 8
LOOK_EVERY_S, FAULT_EVERY_S = 10.0, 12.0
# The longest that it takes until what a process holds has become steady.
STEADY_AFTER_S = 600.0

# A transaction that has been open for five seconds has been forgotten.
OPEN = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND NOW() - xact_start > INTERVAL '5 seconds'
"""
# What a homeserver holds, and by how much each may grow more than on stock Synapse,
# whose caches fill for hours.
MAY_GROW = {
    "MiB of memory": 30,
    "files": 30,
    "threads": 10,
    "old transactions": 0,
    "work that waits": 50,
    "failures of the module": 0,
}

# What it is called, and what brings it about.
Fault = tuple[str, Callable[[], Awaitable[None]]]


@attrs.define(eq=False)
class Soak:
    """A life on two homeservers.

    Faults befall them at the beginning and near the end. In between it is quiet, so
    that what the processes hold can be compared.
    """

    seconds: float
    life: Life
    lanes: tuple[Lane, Lane]
    postgres: PostgresServer
    chance: random.Random
    steps: int = 0
    faults: int = 0
    _began: float = attrs.Factory(time.monotonic)
    _busy: defaultdict[User, DeferredLock] = attrs.Factory(
        lambda: defaultdict(DeferredLock)
    )

    async def live(self) -> None:
        steps = self.life.steps()
        acting = (self._act(steps) for _ in range(AT_ONCE))
        await together(self._happen(), *acting)

    async def read_all(self) -> None:
        for step in self.life.last_reads():
            await self._act_on_both(step)

    async def _act(self, steps: Iterator[Step]) -> None:
        """Take steps, until the time is over or one fails."""
        for step in steps:
            # All at once, so that those of one user are taken in their order.
            locks = [self._busy[user] for user in {*step.users}]
            await DeferredList([lock.acquire() for lock in locks])
            try:
                await self._act_on_both(step)
            except BaseException:
                # Then the time is over for all.
                self._began = -inf
                raise
            finally:
                for lock in locks:
                    lock.release()
            self.steps += 1
            if self._elapsed_s() > self.seconds:
                break

    async def _act_on_both(self, step: Step) -> None:
        await together(
            *(
                lane.patience.insist(step.number, functools.partial(step.act, lane))
                for lane in self.lanes
            )
        )

    async def _happen(self) -> None:
        """Bring about faults, look on while it is quiet, and bring about more."""
        faults, steady_s = self._faults(), min(STEADY_AFTER_S, self.seconds / 3)
        await self._befall(faults, until_s=steady_s / 2)
        while self._elapsed_s() < self.seconds * 0.8:
            for lane in self.lanes if self._elapsed_s() > steady_s else ():
                await look(lane)
            say(f"{self._elapsed_s():6.0f} s  {self.steps:,} steps")
            await pause(LOOK_EVERY_S)
        await self._befall(faults, until_s=self.seconds * 0.9)

    async def _befall(self, faults: Iterator[Fault], until_s: float) -> None:
        while self._elapsed_s() < until_s:
            await pause(FAULT_EVERY_S)
            what, fault = next(faults)
            say(f"{self._elapsed_s():6.0f} s  {what}")
            self.faults += 1
            await fault()

    def _faults(self) -> Iterator[Fault]:
        """Return what happens next, each kind as often as the others, and its name."""
        kinds = {"database": self._restart_database}
        for lane in self.lanes:
            end = {"restart": lane.homeserver.stop, "kill -9": lane.homeserver.kill}
            for how, ends in end.items():
                kinds[f"{how} of {lane.name}"] = functools.partial(lane.die, ends)
        while True:
            yield from self.chance.sample(list(kinds.items()), len(kinds))

    async def _restart_database(self) -> None:
        stock, module = self.lanes
        with stock.patience.troubled(), module.patience.troubled():
            await deferToThread(self.postgres.restart)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began


async def look(lane: Lane) -> None:
    """Note what a homeserver holds, as named above."""
    process = Path(f"/proc/{lane.homeserver.pid}")
    lines = (process / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    metrics = await lane.homeserver.metrics()
    held = (
        int(status["VmRSS"].split()[0]) / 1024,
        len(list((process / "fd").iterdir())),
        int(status["Threads"]),
        lane.homeserver.query(OPEN)[0][0],
        total(metrics, HOUSEKEEPING),
        total(metrics, FAILURES),
    )
    for name, value in zip(MAY_GROW, held):
        lane.held[name].append(value)

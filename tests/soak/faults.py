"""What befalls the homeservers: restarts, kills, a database that restarts."""

from __future__ import annotations

import functools
import random
import time
from typing import Awaitable, Callable, Iterator

import attrs
from twisted.internet.threads import deferToThread

from tests.harness.servers.postgres import PostgresServer
from tests.soak.lane import Lane

Fault = Callable[[], Awaitable[object]]


@attrs.define(eq=False)
class Faults:
    lanes: tuple[Lane, Lane]
    postgres: PostgresServer
    chance: random.Random

    def endless(self) -> Iterator[tuple[str, Fault]]:
        """Return what happens next, each kind as often as the others, and its name."""
        while True:
            kinds: list[tuple[str, Fault]] = [("database", self._restart_database)]
            for lane in self.lanes:
                end = {"restart": lane.homeserver.stop, "kill -9": lane.homeserver.kill}
                for how, ends in end.items():
                    die = functools.partial(self._die, lane, ends)
                    kinds.append((f"{how} of {lane.name}", die))
            self.chance.shuffle(kinds)
            yield from kinds

    async def _die(self, lane: Lane, end: Callable[[], Awaitable[None]]) -> None:
        lane.patience.trouble()
        died = time.monotonic()
        await end()
        await lane.homeserver.start()
        lane.deaths.append((died, time.monotonic()))
        lane.patience.settle()

    async def _restart_database(self) -> None:
        for lane in self.lanes:
            lane.patience.trouble()
        await deferToThread(self.postgres.restart)
        for lane in self.lanes:
            lane.patience.settle()

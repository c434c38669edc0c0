"""Live the same random life on stock Synapse and with the module: `make soak`.

In the end every client knows the same on both, and what is missing with the module is
redundant. Exit code 0 if so, else 1.
"""

from __future__ import annotations

import argparse
import functools
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from math import inf
from pathlib import Path
from statistics import median, quantiles
from typing import Awaitable, Callable, Iterable, Iterator

import attrs
from twisted.internet.defer import DeferredList, DeferredLock
from twisted.internet.threads import deferToThread

from tests.demo.driving import settled
from tests.demo.output import say, show
from tests.harness.rules import EVERY_RULE
from tests.harness.servers.postgres import PostgresServer
from tests.harness.waiting import pause, run, together
from tests.soak.comparing import compare
from tests.soak.lane import Lane
from tests.soak.life import Life, Step
from tests.soak.people import User, make_people

# Each secret is asked for once: what is asked for again after a restart may be taken
# back unheard, as `docs/rules.md` says.
RULES = {**attrs.asdict(EVERY_RULE), "secret_requests": "vanish"}
HERE, ABROAD, BRIDGED = 40, 8, 2

AT_ONCE = 8
LOOK_EVERY_S = 10.0
# The longest that it takes until what a process holds has become steady.
STEADY_AFTER_S = 600.0

# By how much what a homeserver holds may grow more than on stock Synapse, whose caches
# fill for hours.
MAY_GROW = {
    "MiB of memory": 30,
    "files": 30,
    "threads": 10,
    "old transactions": 0,
    "work that waits": 50,
    "failures of the module": 0,
}
PROBLEMS_SHOWN = 20


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

    async def _act(self, steps: Iterator[Step]) -> None:
        """Take steps, until the time is over or one fails."""
        for step in steps:
            # All at once, so that those of one user are taken in their order.
            locks = [self._busy[user] for user in {*step.users}]
            await DeferredList([lock.acquire() for lock in locks])
            try:
                await self.act_on_both(step)
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

    async def act_on_both(self, step: Step) -> None:
        acts = [(lane, functools.partial(step.act, lane)) for lane in self.lanes]
        await together(*(lane.patience.insist(step.number, act) for lane, act in acts))

    async def _happen(self) -> None:
        faults, steady_s = self._faults(), min(STEADY_AFTER_S, self.seconds / 3)
        while (now_s := self._elapsed_s()) < self.seconds * 0.9:
            if steady_s / 2 < now_s < self.seconds * 0.8:
                say(f"{now_s:6.0f} s  {self.steps:,} steps")
                if now_s > steady_s:
                    await together(*(lane.look() for lane in self.lanes))
            else:
                what, fault = next(faults)
                say(f"{now_s:6.0f} s  {what}")
                self.faults += 1
                await fault()
            await pause(LOOK_EVERY_S)

    def _faults(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
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


async def soak(seconds: float, seed: int, directory: Path) -> int:
    people = make_people(HERE, ABROAD, BRIDGED)
    postgres = PostgresServer(directory / "postgres")
    lanes = (
        Lane.make("stock", directory, None, postgres.database()),
        Lane.make("module", directory, {"rules": RULES}, postgres.database()),
    )
    try:
        await together(*(lane.homeserver.start() for lane in lanes))
        await together(*(lane.settle(people) for lane in lanes))
        say(f"seed {seed}: {len(people)} people live for {seconds / 60:g} minutes")
        chance = random.Random(seed)  # noqa: S311 variety, not secrecy
        whole = Soak(seconds, Life(seed, people), lanes, postgres, chance)
        await whole.live()
        return await outcome(whole)
    finally:
        await together(*(lane.stop() for lane in lanes))
        postgres.stop()


async def outcome(whole: Soak) -> int:
    """Let all come to rest, compare, and tell; return the exit code."""
    stock, module = whole.lanes
    await settled([module.homeserver])
    left = [lane.rows() for lane in whole.lanes]
    await together(*(lane.finish(whole.life.people) for lane in whole.lanes))
    for step in whole.life.last_reads():
        await whole.act_on_both(step)
    problems, missing = compare(whole.life, stock, module)
    took = [quantiles(lane.took(), n=100) for lane in whole.lanes]
    told: dict[str, Iterable[object]] = {
        "rows that waited in the end": left,
        "seconds to an answer, median": (each[49] for each in took),
        "99 of 100 within": (each[98] for each in took),
        "made again": (len(lane.patience.cut_off) for lane in whole.lanes),
    }
    for name, may_grow in MAY_GROW.items():
        (before, after), (first, last) = held = [
            _ends(lane.held[name]) for lane in whole.lanes
        ]
        if last - first > may_grow + max(0, after - before):
            problems.append(f"{name}: from {first:.0f} to {last:.0f}")
        told[name] = [f"{each[0]:.0f} to {each[1]:.0f}" for each in held]
    for why, count in missing.items():
        told[f"missing: {why or 'LOST'}"] = 0, count
    names = "", "stock", "module"
    rows = [dict(zip(names, (name, *values))) for name, values in told.items()]
    lived = f"{whole.steps:,} steps, {len(whole.life.sent):,} of them requests"
    show("Soak", rows, f"{lived}, {whole.faults} faults")
    for problem in problems[:PROBLEMS_SHOWN]:
        say(f"WRONG: {problem:.1000}")
    return int(bool(problems))


def _ends(held: list[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last fifth of the time."""
    fifth = len(held) // 5 + 1
    return median(held[:fifth]), median(held[-fifth:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=60, help="how long to live")
    parser.add_argument("--seed", type=int, help="to live an earlier life again")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    # PostgreSQL runs as another user where it is started by root.
    directory.chmod(0o755)
    code = run(functools.partial(soak, arguments.minutes * 60, seed, directory))
    if code:
        say(f"seed {seed}, exit code {code}; logs are in {directory}")
    else:
        shutil.rmtree(directory)
    sys.exit(code)

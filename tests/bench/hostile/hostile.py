"""What requests that are meant to hurt cost, beside stock: processor, others' waits."""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from statistics import median
from typing import AsyncIterator, Callable
from urllib.parse import urlsplit

import attrs

from tests.bench.hostile.attacks import Attack, Scene, attacks
from tests.bench.instruments import probe
from tests.bench.instruments.lanes import Lane, Lanes, on_both_databases
from tests.bench.instruments.taken import ENDS_WITHIN_S, become_quiet, cpu_s
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.process import Process
from tests.harness.servers.remote import RemoteServer
from tests.harness.waiting import pause

VERSIONS = "/_matrix/client/versions"

# What may come on top of so many times stock's.
MOST_TIMES, BEYOND_S = 1.5, 0.005

# How long the requests of others are watched alone, to know what they cost.
STARTED_WITHIN_S, IDLE_S = 0.5, 3.0

_HEADER = (
    *("one request, ms", "processor, stock", "module", "ratio"),
    *("wait, stock", "module", "busy, stock", "module", "ratio"),
)
_HOW = (
    "Meanwhile somebody else asks for `/_matrix/client/versions`, every "
    f"{1000 * probe.GAP_S:.0f} ms; 'wait' is the longest that an answer took, 'busy' "
    "the most processor time that Synapse took during one: that says more where others "
    "run on the machine. Of several requests in a row it is the median of each one's "
    "longest. Processor: of Synapse and its database, until what comes after the "
    "answer is over, less what these requests cost."
)


@attrs.frozen
class Cost:
    """The processor, the longest wait of somebody else, the most taken during one."""

    cpu_s: float
    wait_s: float
    busy_s: float

    def is_bearable(self, stock: Cost) -> bool:
        """Say whether it is within the target, given what stock takes."""
        return (
            self.cpu_s <= MOST_TIMES * stock.cpu_s + BEYOND_S
            and self.busy_s <= MOST_TIMES * stock.busy_s + BEYOND_S
        )


@attrs.define
class Bystander:
    """Somebody else, whose requests are answered or wait.

    Attributes:
        output: Where their waits are written.
        each_s: What an answer to them costs, in seconds of processor.
    """

    lane: Lane
    output: Path
    each_s: float = 0.0

    def waits(self, since: float, until: float = inf) -> list[tuple[float, float]]:
        """Return how long each answer took, and Synapse worked meanwhile."""
        lines = [line.split() for line in self.output.read_text().splitlines()]
        told = [tuple(map(float, line)) for line in lines if len(line) == 3]
        return [
            (took, worked)
            for started, took, worked in told
            if started + took >= since and started < until
        ]

    async def taken(self, attack: Attack, scene: Scene) -> Cost:
        """Return what one request of an attack takes, with all that follows."""
        before, began = cpu_s(self.lane), time.monotonic()
        starts = []
        for _ in range(attack.times):
            starts.append(time.monotonic())
            await attack.strike(scene)
        looking_s, left = 0.0, 1.0
        while left and time.monotonic() < began + ENDS_WITHIN_S:
            await become_quiet(
                self.lane, lambda since: len(self.waits(since)) * self.each_s
            )
            # Where the machine has much else to do, its rests are long.
            before_that = cpu_s(self.lane)
            left = await self.lane.to_learn()
            looking_s += cpu_s(self.lane) - before_that
        others_s = len(self.waits(began)) * self.each_s
        taken_s = cpu_s(self.lane) - before - others_s - looking_s
        each = [self.waits(*span) for span in zip(starts, [*starts[1:], inf])]
        longest = [tuple(map(max, zip(*waits))) for waits in each if waits]
        wait_s, busy_s = map(median, zip(*longest))
        return Cost(max(0.0, taken_s) / attack.times, wait_s, busy_s)


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    return await on_both_databases(directory, lambda lanes: _on(lanes, sizes, say))


async def _on(lanes: Lanes, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    database = lanes[0].database
    remote = RemoteServer()
    await remote.start()
    try:
        scenes = [await Scene.on(lane, sizes, remote) for lane in lanes]
        costs = [await _costs(each, scenes, sizes, say) for each in attacks(sizes)]
    finally:
        await remote.stop()
    named = [(each.name, *cost) for each, cost in zip(attacks(sizes), costs)]
    rounds = f"The least of {sizes.attacks} rounds, in turns. {_HOW}"
    title = f"Hostile requests on {database}"
    table = Table(title, _HEADER, [_line(*each) for each in named], [rounds])
    return Findings([table], [_target(database, *each) for each in named])


async def _costs(
    attack: Attack, scenes: list[Scene], sizes: Sizes, say: Callable[[str], None]
) -> tuple[Cost, Cost]:
    found: dict[str, list[Cost]] = {scene.lane.name: [] for scene in scenes}
    for scene in scenes:
        if attack.prepare is not None:
            await attack.prepare(scene)
            await become_quiet(scene.lane)
    for _ in range(sizes.attacks):
        for scene in scenes:
            async with _bystander(scene.lane) as bystander:
                cost = await bystander.taken(attack, scene)
            found[scene.lane.name].append(cost)
            say(f"  {attack.name}, {scene.lane.name}: {1000 * cost.cpu_s:.0f} ms")
    stock, module = (
        Cost(*map(min, zip(*map(attrs.astuple, some)))) for some in found.values()
    )
    return stock, module


@asynccontextmanager
async def _bystander(lane: Lane) -> AsyncIterator[Bystander]:
    """Let somebody else ask something simple for as long as this lasts."""
    address = urlsplit(lane.homeserver.base_url)
    directory = lane.directory / "bystander"
    process = Process(directory, directory / "output")
    where = (address.hostname, address.port, VERSIONS, lane.homeserver.pid)
    process.start(sys.executable, str(Path(probe.__file__)), *map(str, where))
    try:
        bystander = Bystander(lane, process.output)
        await pause(STARTED_WITHIN_S)
        before, began = cpu_s(lane), time.monotonic()
        await pause(IDLE_S)
        taken_s = cpu_s(lane) - before
        bystander.each_s = taken_s / max(1, len(bystander.waits(began)))
        yield bystander
    finally:
        await process.end()


def _line(name: str, stock: Cost, module: Cost) -> tuple[str, ...]:
    both = stock, module
    return (
        name,
        *(f"{1000 * each.cpu_s:,.0f}" for each in both),
        ratio(module.cpu_s, stock.cpu_s),
        *(f"{1000 * each.wait_s:,.0f}" for each in both),
        *(f"{1000 * each.busy_s:,.0f}" for each in both),
        ratio(module.busy_s, stock.busy_s),
    )


def _target(database: str, name: str, stock: Cost, module: Cost) -> Target:
    return Target(
        f"hostile, {database}: {name}",
        f"≤ {MOST_TIMES} of stock, beyond {1000 * BEYOND_S:.0f} ms; busy alike",
        f"{ratio(module.cpu_s, stock.cpu_s)}; {ratio(module.busy_s, stock.busy_s)}",
        module.is_bearable(stock),
        binding=False,
    )

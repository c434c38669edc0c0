"""What requests that are meant to hurt cost, beside stock: processor, others' waits."""

from __future__ import annotations

import json
import sys
import time
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from statistics import median
from typing import AsyncIterator, NamedTuple

import attrs

from tests.bench.attacks import Attack, Scene, attacks
from tests.bench.instruments import asking
from tests.bench.instruments.synapses import Lane, Lanes, on_both_databases
from tests.bench.instruments.taken import ENDS_WITHIN_S, become_quiet, cpu_s
from tests.bench.report import Findings, Table, Target, ratio, say
from tests.bench.sizes import Sizes
from tests.harness.process import Process
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import to_do
from tests.harness.waiting import pause

VERSIONS = "/_matrix/client/versions"
# Between an answer to somebody else and the next request.
GAP_S = 0.01

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
    f"{1000 * GAP_S:.0f} ms; 'wait' is the longest that an answer took, 'busy' "
    "the most processor time that Synapse took during one: that says more where others "
    "run on the machine. Of several requests in a row it is the median of each one's "
    "longest. Processor: of Synapse and its database, until what comes after the "
    "answer is over, less what these requests cost."
)


class Cost(NamedTuple):
    """The processor, the longest wait of somebody else, the most taken during one."""

    cpu_s: float
    wait_s: float
    busy_s: float


@attrs.define
class Bystander:
    """Somebody else, whose requests are answered or wait.

    Attributes:
        output: Where the answers are written.
        each_s: What an answer costs, in seconds of processor.
    """

    lane: Lane
    output: Path
    each_s: float = 0.0

    def answers(self, since: float, until: float = inf) -> list[asking.Answer]:
        told = asking.answers(self.output.read_text())
        return [
            each
            for each in told
            if each.started + each.took >= since and each.started < until
        ]

    async def taken(self, attack: Attack, scene: Scene) -> Cost:
        """Return what one request of an attack takes, with all that follows."""
        before, began = cpu_s(self.lane), time.monotonic()
        starts = []
        for _ in range(attack.times):
            starts.append(time.monotonic())
            await attack.strike(scene)
        looking_s, left = 0.0, 1
        while left and time.monotonic() < began + ENDS_WITHIN_S:
            await become_quiet(
                self.lane, lambda since: len(self.answers(since)) * self.each_s
            )
            # Where the machine has much else to do, its rests are long.
            then, before_that = time.monotonic(), cpu_s(self.lane)
            left = await to_do(self.lane.homeserver)
            looking_s += cpu_s(self.lane) - before_that
            looking_s -= len(self.answers(then)) * self.each_s
        told = self.answers(began)
        taken_s = cpu_s(self.lane) - before - len(told) * self.each_s - looking_s
        spans = [self.answers(*span) for span in zip(starts, [*starts[1:], inf])]
        wait_s, busy_s = (
            median(max(each[which] for each in span) for span in spans if span)
            for which in (1, 2)
        )
        return Cost(max(0.0, taken_s) / attack.times, wait_s, busy_s)


async def measure(directory: Path, sizes: Sizes) -> Findings:
    return await on_both_databases(directory, lambda lanes: _on(lanes, sizes))


async def _on(lanes: Lanes, sizes: Sizes) -> Findings:
    database, rows, targets = lanes[0].driver, [], []
    remote = RemoteServer()
    await remote.start()
    try:
        scenes = [await Scene.on(lane, sizes, remote) for lane in lanes]
        for attack in attacks(sizes):
            costs = await _costs(attack, scenes, sizes)
            rows.append(_row(attack.name, *costs))
            targets.append(_target(f"hostile, {database}: {attack.name}", *costs))
    finally:
        await remote.stop()
    rounds = f"The least of {sizes.attacks} rounds, in turns. {_HOW}"
    return [Table(f"Hostile requests on {database}", _HEADER, rows, rounds), *targets]


async def _costs(
    attack: Attack, scenes: list[Scene], sizes: Sizes
) -> tuple[Cost, Cost]:
    found: tuple[list[Cost], list[Cost]] = [], []
    for scene in scenes:
        if attack.prepare is not None:
            await attack.prepare(scene)
            await become_quiet(scene.lane)
    for _ in range(sizes.attacks):
        for scene, costs in zip(scenes, found):
            async with _bystander(scene.lane) as bystander:
                cost = await bystander.taken(attack, scene)
            costs.append(cost)
            say(f"  {attack.name}, {scene.lane.name}: {1000 * cost.cpu_s:.0f} ms")
    stock, module = (Cost(*map(min, zip(*each))) for each in found)
    return stock, module


@asynccontextmanager
async def _bystander(lane: Lane) -> AsyncIterator[Bystander]:
    """Let somebody else ask something simple for as long as this lasts."""
    order = lane.order(
        method="GET",
        path=VERSIONS,
        headers={},
        body="",
        connections=1,
        seconds=10 * ENDS_WITHIN_S,
        most=10**9,
        gap=GAP_S,
    )
    directory = lane.directory / "bystander"
    process = Process(directory, directory / "output")
    process.start(sys.executable, str(Path(asking.__file__)), json.dumps(order))
    try:
        bystander = Bystander(lane, process.output)
        await pause(STARTED_WITHIN_S)
        before, began = cpu_s(lane), time.monotonic()
        await pause(IDLE_S)
        taken_s = cpu_s(lane) - before
        bystander.each_s = taken_s / max(1, len(bystander.answers(began)))
        yield bystander
    finally:
        await process.end()


def _row(name: str, stock: Cost, module: Cost) -> tuple[str, ...]:
    both = zip(stock, module)
    cpu, wait, busy = ([f"{1000 * each:,.0f}" for each in pair] for pair in both)
    more_cpu = ratio(module.cpu_s, stock.cpu_s)
    more_busy = ratio(module.busy_s, stock.busy_s)
    return (name, *cpu, more_cpu, *wait, *busy, more_busy)


def _target(name: str, stock: Cost, module: Cost) -> Target:
    return Target(
        name,
        f"≤ {MOST_TIMES} of stock, beyond {1000 * BEYOND_S:.0f} ms; busy alike",
        f"{ratio(module.cpu_s, stock.cpu_s)}; {ratio(module.busy_s, stock.busy_s)}",
        module.cpu_s <= MOST_TIMES * stock.cpu_s + BEYOND_S
        and module.busy_s <= MOST_TIMES * stock.busy_s + BEYOND_S,
    )

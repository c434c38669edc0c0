"""What requests cost that hold no duplicates: the module adds no statement to them."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from tests.bench.instruments.lanes import Lane, two_lanes
from tests.bench.instruments.people import AWAY, People
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.messages import ENCRYPTED, PLAIN, WITHHELD

# Many are as many as a client tells with one request.
KINDS = tuple((kind, many) for kind in (ENCRYPTED, PLAIN) for many in (1, 250))

_HEADER = (
    *("request", "devices", "the module's statements"),
    *("statements, stock", "module", "processor ms, stock", "module", "ratio"),
)
_HOW = (
    "With the module, all devices had a pair remembered, and the Olm messages re-armed "
    "those. Mean of {} requests; Synapse's regular work is in it. Processor: of "
    "Synapse and its database."
)


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    say("Sending ordinary messages.")
    async with two_lanes(directory) as lanes:
        stock, module = [await _costs(lane, sizes.requests) for lane in lanes]
    rows, targets = [], []
    for (kind, devices), without, having in zip(KINDS, stock, module):
        taken_ms = 1000 * without.cpu_s, 1000 * having.cpu_s
        rows.append(
            (
                *(kind, str(devices), f"{having.of_module:.2f}"),
                *(f"{each.statements:.2f}" for each in (without, having)),
                *(f"{each:.2f}" for each in taken_ms),
                ratio(having.cpu_s, without.cpu_s),
            )
        )
        name = f"the module's statements for {kind}, devices: {devices}"
        targets.append(Target.most(name, having.of_module, 0, binding=True))
    notes = [_HOW.format(sizes.requests)]
    return Findings([Table("Ordinary requests", _HEADER, rows, notes)], targets)


async def _costs(lane: Lane, requests: int) -> list[Taken]:
    people = await People.on(lane)
    devices = [AWAY, *lane.add_devices(people.recipient, KINDS[-1][1] - 1)]
    # Fills Synapse's caches; and the module remembers pairs of all devices.
    for kind in (ENCRYPTED, PLAIN, WITHHELD):
        await people.send(kind, devices)
    await lane.at_rest()
    costs = []
    for kind, many in KINDS:
        before = await Taken.by(lane)
        for _ in range(requests):
            await people.send(kind, devices[:many])
        costs.append((await Taken.by(lane)).each(before, requests))
    return costs

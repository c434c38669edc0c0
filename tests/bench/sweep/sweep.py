"""How fast the sweep is, what memory it takes, and whether clients notice it.

On a database of a stock Synapse: the command works beside one without the module too.
Clients are asked beside one with it as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from twisted.internet.threads import deferToThread

from tests.bench.instruments.lanes import MODULE, STOCK
from tests.bench.report import Findings, Table
from tests.bench.sizes import Sizes
from tests.bench.sweep import beside, rates
from tests.bench.sweep.place import Place, flat, places


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    directory.mkdir()
    async with places(directory) as made:
        stock = await made(STOCK, None)
        say("Sweeping for its rate.")
        found = [await deferToThread(rates.measure, stock, sizes)]
        say(f"Sweeping up to {sizes.backlog[-1]:,} rows for its memory.")
        found.append(await deferToThread(_memory, stock, sizes))
        say("Sweeping beside a client.")
        found.append(await beside.measure(stock, sizes))
        await stock.homeserver.stop()
        say("Sweeping beside a client of a Synapse with the module.")
        found.append(await beside.measure(await made(MODULE, {}), sizes))
    return Findings.joined(found)


def _memory(place: Place, sizes: Sizes) -> Findings:
    lines, peaks = [], []
    for rows in sizes.backlog:
        place.fill(rows, 50)
        told, held = place.weighed("sweep")
        assert told["rows"] == rows
        assert told["deleted"] == told["redundant"] > 0
        peaks.append(held)
        lines.append((f"{rows:,}", f"{told['deleted']:,}", f"{held / 1e6:.1f}"))
    notes = ["`synapse-withheld sweep --pause 0`: the most it ever held."]
    table = Table("Memory of the sweep", ("rows", "deleted", "MB"), lines, notes)
    return Findings([table], [flat("sweep", peaks)])

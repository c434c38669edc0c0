"""Storms of duplicates over 1, 8 and 32 connections: how many, and what each costs."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from statistics import fmean, median
from typing import Any, Callable, Mapping
from urllib.parse import urlsplit

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from tests.bench.instruments import load
from tests.bench.instruments.lanes import Lane, Lanes, two_lanes
from tests.bench.instruments.people import People
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD

CONNECTIONS = (1, 8, 32)

# A storm ends after so many requests, too.
MOST = 3_000

# The module must not make a storm slower, ask more than once about a duplicate, or
# write more than so much of what stock writes.
LEAST_RATIO, MOST_STATEMENTS, MOST_WAL = 1.0, 1.05, 0.1

_STORMS = count()

_HEADER = (
    *("connections", "requests/s, stock", "module", "ratio"),
    *("the module's statements", "statements, stock", "module"),
    *("WAL bytes, stock", "module", "ratio"),
    *("processor ms, empty", "stock", "module", "ratio"),
)
_HOW = (
    "Requests/s: medians of {} rounds, stock and module in turns, each up to {:g} s or "
    "{:,} requests, sent by a process of its own. The rest: of one request, the mean; "
    "Synapse's regular work is in it. 'empty': a request without any message, on "
    "stock. Processor: of Synapse and its database."
)


class LoadError(Exception):
    """The process that sends did not do its work."""


@attrs.frozen
class Storm:
    """What one storm was like, and what one of its requests took."""

    failed: int
    rate: float
    each: Taken


@attrs.frozen
class Storms:
    """All storms over so many connections: of stock's empty requests, of duplicates."""

    empty: list[Storm]
    stock: list[Storm]
    module: list[Storm]

    def rate(self, storms: list[Storm]) -> float:
        return median(each.rate for each in storms)

    def took(self, storms: list[Storm], what: str) -> float:
        return fmean(getattr(each.each, what) for each in storms)


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Time storms on both databases."""
    parts = []
    for on_sqlite in (False, True):
        where = directory / str(on_sqlite)
        async with two_lanes(where, on_sqlite=on_sqlite) as lanes:
            parts.append(await _on(lanes, sizes, say))
    return Findings.joined(parts)


async def _on(lanes: Lanes, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    """Time storms on two Synapses, in turns."""
    people = [await People.on(lane) for lane in lanes]
    sent = [(lane, each, each.messages(WITHHELD)) for lane, each in zip(lanes, people)]
    for each in sent:
        await _storm(*each, 8, 1.0)
    found: dict[int, Storms] = {}
    for connections in CONNECTIONS:
        found[connections] = storms = Storms([], [], [])
        for _ in range(sizes.rounds):
            how = connections, sizes.seconds
            storms.empty.append(await _storm(lanes[0], people[0], {}, *how))
            for some, each in zip((storms.stock, storms.module), sent):
                some.append(await _storm(*each, *how))
            rates = [f"{each[-1].rate:.0f}" for each in (storms.stock, storms.module)]
            say(f"  {connections} connections: {' and '.join(rates)} requests/s")
    database, module = lanes[0].database, lanes[1]
    title = f"A storm of duplicates of one pair on {database}"
    how_told = _HOW.format(sizes.rounds, sizes.seconds, MOST)
    table = Table(title, _HEADER, [_row(*each) for each in found.items()], [how_told])
    targets = [
        each for item in found.items() for each in _targets(module.on_sqlite, *item)
    ]
    rows = module.rows_in_mailbox(people[1].recipient)
    name = f"rows in the mailbox after the storms on {database}"
    return Findings([table], [*targets, Target.most(name, rows, 1, binding=True)])


async def _storm(
    lane: Lane,
    people: People,
    messages: Mapping[str, Any],
    connections: int,
    seconds: float,
) -> Storm:
    address = urlsplit(lane.homeserver.base_url)
    order = {
        "host": address.hostname,
        "port": address.port,
        "path": f"/_matrix/client/v3/sendToDevice/{WITHHELD}/storm{next(_STORMS)}-",
        "token": people.sender.access_token,
        "body": json.dumps({"messages": messages}),
        "connections": connections,
        "seconds": seconds,
        "most": MOST,
    }
    command = (str(Path(load.__file__)), json.dumps(order))
    start: Any = getProcessOutputAndValue
    before = await Taken.by(lane)
    output, errors, code = await start(sys.executable, command)
    if code != 0:
        raise LoadError(errors.decode(errors="replace"))
    told = json.loads(output)
    each = (await Taken.by(lane)).each(before, told["sent"])
    return Storm(told["failed"], told["sent"] / told["seconds"], each)


def _row(connections: int, storms: Storms) -> tuple[str, ...]:
    both = storms.stock, storms.module
    stock_rate, module_rate = map(storms.rate, both)
    logged = [storms.took(each, "wal_bytes") for each in both]
    empty_ms, *taken_ms = (
        1000 * storms.took(each, "cpu_s") for each in (storms.empty, *both)
    )
    return (
        str(connections),
        *(f"{stock_rate:,.0f}", f"{module_rate:,.0f}", ratio(module_rate, stock_rate)),
        f"{storms.took(storms.module, 'of_module'):.2f}",
        *(f"{storms.took(each, 'statements'):.2f}" for each in both),
        *(f"{logged[0]:,.0f}", f"{logged[1]:,.0f}", ratio(logged[1], logged[0])),
        f"{empty_ms:.2f}",
        *(f"{each:.2f}" for each in taken_ms),
        ratio(taken_ms[1], taken_ms[0]),
    )


def _targets(on_sqlite: bool, connections: int, storms: Storms) -> list[Target]:
    over = f"storm on {'SQLite' if on_sqlite else 'PostgreSQL'}, {connections} at once"
    both = storms.stock, storms.module
    faster = storms.rate(storms.module) / storms.rate(storms.stock)
    asked = storms.took(storms.module, "of_module")
    failed = sum(each.failed for some in (storms.empty, *both) for each in some)
    targets = [
        Target.least(f"{over}: requests/s, of stock's", faster, LEAST_RATIO),
        Target.most(
            f"{over}: statements per duplicate", asked, MOST_STATEMENTS, binding=True
        ),
        Target.most(f"{over}: requests that failed", failed, 0, binding=True),
    ]
    if not on_sqlite:
        stock, module = (storms.took(each, "wal_bytes") for each in both)
        name = f"{over}: WAL, of stock's"
        targets.append(Target.most(name, module / stock, MOST_WAL, binding=True))
    return targets

"""Storms of duplicates over 1, 8 and 32 connections: how many, and what each costs."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from statistics import fmean, median
from typing import Any, Callable, Dict, List, Mapping
from urllib.parse import urlsplit

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from tests.bench.instruments import load
from tests.bench.instruments.lanes import MODULE, STOCK, Lane, Lanes, on_both_databases
from tests.bench.instruments.people import People
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.messages import WITHHELD

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


# All storms over so many connections: of empty requests, and of duplicates.
EMPTY = "empty"
Storms = Dict[str, List[Storm]]


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    return await on_both_databases(directory, lambda lanes: _on(lanes, sizes, say))


async def _on(lanes: Lanes, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    """Time storms on two Synapses, in turns."""
    people = [await People.on(lane) for lane in lanes]
    stock, module = lanes
    kinds = {
        EMPTY: (stock, people[0], {}),
        STOCK: (stock, people[0], people[0].messages(WITHHELD)),
        MODULE: (module, people[1], people[1].messages(WITHHELD)),
    }
    for kind in kinds.values():
        await _storm(*kind, 8, 1.0)
    found: dict[int, Storms] = {}
    for connections in CONNECTIONS:
        storms: Storms = {kind: [] for kind in kinds}
        found[connections] = storms
        for _ in range(sizes.rounds):
            for name, kind in kinds.items():
                storms[name].append(await _storm(*kind, connections, sizes.seconds))
                say(f"  {name}, {connections} at once: {storms[name][-1].rate:.0f}/s")
    title = f"A storm of duplicates of one pair on {stock.database}"
    how = _HOW.format(sizes.rounds, sizes.seconds, MOST)
    table = Table(title, _HEADER, [_row(*each) for each in found.items()], [how])
    targets = [each for item in found.items() for each in _targets(stock, *item)]
    rows = module.rows_in_mailbox(people[1].recipient)
    name = f"rows in the mailbox after the storms on {stock.database}"
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


def _rate(storms: Storms, kind: str) -> float:
    return median(each.rate for each in storms[kind])


def _took(storms: Storms, what: str, *kinds: str) -> list[float]:
    return [fmean(getattr(each.each, what) for each in storms[kind]) for kind in kinds]


def _row(connections: int, storms: Storms) -> tuple[str, ...]:
    stock_rate, module_rate = _rate(storms, STOCK), _rate(storms, MODULE)
    logged = _took(storms, "wal_bytes", STOCK, MODULE)
    busy_s = _took(storms, "cpu_s", EMPTY, STOCK, MODULE)
    return (
        str(connections),
        *(f"{stock_rate:,.0f}", f"{module_rate:,.0f}", ratio(module_rate, stock_rate)),
        *(f"{each:.2f}" for each in _took(storms, "of_module", MODULE)),
        *(f"{each:.2f}" for each in _took(storms, "statements", STOCK, MODULE)),
        *(f"{logged[0]:,.0f}", f"{logged[1]:,.0f}", ratio(logged[1], logged[0])),
        *(f"{1000 * each:.2f}" for each in busy_s),
        ratio(busy_s[2], busy_s[1]),
    )


def _targets(lane: Lane, connections: int, storms: Storms) -> list[Target]:
    over = f"storm on {lane.database}, {connections} at once"
    faster = _rate(storms, MODULE) / _rate(storms, STOCK)
    failed = sum(each.failed for some in storms.values() for each in some)
    (asked,) = _took(storms, "of_module", MODULE)
    counts = [("statements per duplicate", asked, MOST_STATEMENTS)]
    counts.append(("requests that failed", failed, 0))
    if not lane.on_sqlite:
        stock, module = _took(storms, "wal_bytes", STOCK, MODULE)
        counts.append(("WAL, of stock's", module / stock, MOST_WAL))
    return [
        Target.least(f"{over}: requests/s, of stock's", faster, LEAST_RATIO),
        *(Target.most(f"{over}: {n}", v, most, binding=True) for n, v, most in counts),
    ]

"""Storms of duplicates over 1, 8 and 32 connections: how many, and what each costs."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from statistics import fmean, median
from typing import Any, Mapping

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from tests.bench.instruments import asking
from tests.bench.instruments.synapses import (
    MODULE,
    STOCK,
    Lane,
    Lanes,
    on_both_databases,
)
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table, Target, ratio, say
from tests.bench.sizes import Sizes
from tests.harness.messages import WITHHELD
from tests.harness.servers.stage import Two, two_on

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


@attrs.frozen
class Storm:
    """What one storm was like, and what one of its requests took."""

    failed: int
    rate: float
    each: Taken

    @classmethod
    def typical(cls, storms: list[Storm]) -> Storm:
        each = zip(*(attrs.astuple(storm.each) for storm in storms))
        failed = sum(storm.failed for storm in storms)
        rate = median(storm.rate for storm in storms)
        return cls(failed, rate, Taken(*map(fmean, each)))


async def measure(directory: Path, sizes: Sizes) -> Findings:
    return await on_both_databases(directory, lambda lanes: _on(lanes, sizes))


async def _on(lanes: Lanes, sizes: Sizes) -> Findings:
    stock, module = lanes
    two, others = [await two_on(lane.homeserver) for lane in lanes]
    kinds: dict[str, tuple[Lane, Two, Mapping[str, Any]]] = {
        "empty": (stock, two, {}),
        STOCK: (stock, two, {two.recipient.user_id: {"AWAY": two.notice()}}),
        MODULE: (module, others, {others.recipient.user_id: {"AWAY": others.notice()}}),
    }
    for kind in kinds.values():
        await _storm(*kind, 8, 1.0)
    rows, targets = [], []
    for connections in CONNECTIONS:
        storms: dict[str, list[Storm]] = {kind: [] for kind in kinds}
        for _ in range(sizes.rounds):
            for name, kind in kinds.items():
                storms[name].append(await _storm(*kind, connections, sizes.seconds))
                say(f"  {name}, {connections} at once: {storms[name][-1].rate:.0f}/s")
        typical = list(map(Storm.typical, storms.values()))
        rows.append((str(connections), *_numbers(*typical)))
        over = f"storm on {stock.driver}, {connections} at once"
        targets += _targets(over, *typical)
    title = f"A storm of duplicates of one pair on {stock.driver}"
    how = _HOW.format(sizes.rounds, sizes.seconds, MOST)
    name = f"rows in the mailbox after the storms on {stock.driver}"
    left = Target.most(name, len(others.mailbox()), 1, binding=True)
    return [Table(title, _HEADER, rows, how), *targets, left]


async def _storm(
    lane: Lane, two: Two, messages: Mapping[str, Any], connections: int, seconds: float
) -> Storm:
    order = lane.order(
        method="PUT",
        path=f"/_matrix/client/v3/sendToDevice/{WITHHELD}/storm{next(_STORMS)}-{{}}",
        headers={"Authorization": f"Bearer {two.sender.access_token}"},
        body=json.dumps({"messages": messages}),
        connections=connections,
        seconds=seconds,
        most=MOST,
        gap=0,
    )
    command = (str(Path(asking.__file__)), json.dumps(order))
    start: Any = getProcessOutputAndValue
    before = await Taken.by(lane)
    output, errors, code = await start(sys.executable, command)
    assert code == 0, errors
    told = asking.answers(output.decode())
    each = (await Taken.by(lane)).each(before, len(told))
    took = max(a.started + a.took for a in told) - min(a.started for a in told)
    return Storm(sum(a.status != 200 for a in told), len(told) / took, each)


def _numbers(empty: Storm, stock: Storm, module: Storm) -> list[str]:
    both = stock.each, module.each
    return [
        *(f"{stock.rate:,.0f}", f"{module.rate:,.0f}", ratio(module.rate, stock.rate)),
        f"{module.each.of_module:.2f}",
        *(f"{each.statements:.2f}" for each in both),
        *(f"{each.wal_bytes:,.0f}" for each in both),
        ratio(module.each.wal_bytes, stock.each.wal_bytes),
        *(f"{1000 * each.cpu_s:.2f}" for each in (empty.each, *both)),
        ratio(module.each.cpu_s, stock.each.cpu_s),
    ]


def _targets(over: str, empty: Storm, stock: Storm, module: Storm) -> list[Target]:
    failed = empty.failed + stock.failed + module.failed
    counts = {
        "statements per duplicate": (module.each.of_module, MOST_STATEMENTS),
        "requests that failed": (failed, 0),
    }
    # SQLite has none.
    if stock.each.wal_bytes:
        logged = module.each.wal_bytes / stock.each.wal_bytes
        counts["WAL, of stock's"] = logged, MOST_WAL
    faster = module.rate / stock.rate
    return [
        Target.least(f"{over}: requests/s, of stock's", faster, LEAST_RATIO),
        *(
            Target.most(f"{over}: {name}", *numbers, binding=True)
            for name, numbers in counts.items()
        ),
    ]

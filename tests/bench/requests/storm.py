"""How many duplicates a second Synapse answers, over 1, 8 and 32 connections."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterable, Sequence
from urllib.parse import urlsplit

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from tests.bench.instruments import load
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.people import People
from tests.bench.report import Findings, Table, Target, counted, number
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD

CONNECTIONS = (1, 8, 32)

# The module must not make a storm slower.
LEAST_RATIO = 1.0

_STORMS = count()


class LoadError(Exception):
    """The process that sends did not do its work."""


@attrs.frozen
class Storm:
    """What one storm was like."""

    sent: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Return the requests per second."""
        return self.sent / self.seconds


@attrs.frozen
class Side:
    """One of the two Synapses, who is on it, and its storms by connections."""

    lane: Lane
    people: People
    storms: dict[int, list[Storm]] = attrs.Factory(dict)

    def rate(self, connections: int) -> float:
        """Return the median of the requests per second."""
        return median(storm.rate for storm in self.storms[connections])


async def measure(
    lanes: tuple[Lane, Lane], sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Time storms on two Synapses, in turns."""
    sides = [Side(lane, await People.on(lane)) for lane in lanes]
    for side in sides:
        await _run(side, 8, seconds=1.0, most=sizes.most)
    for connections in CONNECTIONS:
        for number_ in range(sizes.rounds):
            for side in sides:
                storm = await _run(side, connections, sizes.seconds, sizes.most)
                side.storms.setdefault(connections, []).append(storm)
                say(
                    f"  {side.lane.name}, {connections} connections, round "
                    f"{number_ + 1}: {storm.rate:.0f} requests/s"
                )
    return Findings([_table(sides, sizes)], list(_targets(sides)))


async def _run(side: Side, connections: int, seconds: float, most: int) -> Storm:
    people, address = side.people, urlsplit(side.lane.homeserver.base_url)
    order = {
        "host": address.hostname,
        "port": address.port,
        "path": f"/_matrix/client/v3/sendToDevice/{WITHHELD}/storm{next(_STORMS)}-",
        "token": people.sender.access_token,
        "body": json.dumps({"messages": people.messages(WITHHELD)}),
        "connections": connections,
        "seconds": seconds,
        "most": most,
    }
    command = (str(Path(load.__file__)), json.dumps(order))
    start: Any = getProcessOutputAndValue
    output, errors, code = await start(sys.executable, command)
    if code != 0:
        raise LoadError(errors.decode(errors="replace"))
    return Storm(**json.loads(output))


def _table(sides: Sequence[Side], sizes: Sizes) -> Table:
    stock, module = sides
    return Table(
        "A storm of duplicates of one pair, requests per second",
        ("connections", "stock", "module", "ratio", "stock, range", "module, range"),
        [
            (
                str(connections),
                f"{stock.rate(connections):,.0f}",
                f"{module.rate(connections):,.0f}",
                f"{module.rate(connections) / stock.rate(connections):.2f}",
                _range(stock.storms[connections]),
                _range(module.storms[connections]),
            )
            for connections in CONNECTIONS
        ],
        [
            _how(sizes),
            *(_left(side) for side in sides),
        ],
    )


def _how(sizes: Sizes) -> str:
    return (
        f"Medians of {sizes.rounds} rounds, stock and module in turns, each up to "
        f"{sizes.seconds:g} s or {sizes.most:,} requests, sent by a process of its own."
    )


def _left(side: Side) -> str:
    storms = [storm for some in side.storms.values() for storm in some]
    return (
        f"{side.lane.name}: {number(sum(each.sent for each in storms))} requests, "
        f"{sum(each.failed for each in storms)} failed; afterwards "
        f"{side.lane.rows_in_mailbox(side.people.recipient):,} rows in the mailbox."
    )


def _range(storms: Iterable[Storm]) -> str:
    rates = sorted(storm.rate for storm in storms)
    return f"{rates[0]:,.0f} to {rates[-1]:,.0f}"


def _targets(sides: Sequence[Side]) -> Iterable[Target]:
    stock, module = sides
    for connections in CONNECTIONS:
        ratio = module.rate(connections) / stock.rate(connections)
        yield Target(
            f"requests/s in a storm, {counted(connections, 'connection')}",
            f"at least {LEAST_RATIO:.2f} of stock",
            f"{ratio:.2f}",
            ratio >= LEAST_RATIO,
            binding=False,
        )
    failed = sum(
        storm.failed
        for side in sides
        for some in side.storms.values()
        for storm in some
    )
    name = "requests of the storms that failed"
    yield Target(name, "0", str(failed), failed == 0, binding=True)
    rows = module.lane.rows_in_mailbox(module.people.recipient)
    name = "rows in the mailbox after the storms"
    yield Target(name, "1", str(rows), rows == 1, binding=True)

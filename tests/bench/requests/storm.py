"""Storms of duplicates over 1, 8 and 32 connections: how many, and what each costs."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from tests.bench.instruments import load
from tests.bench.instruments.counting import AFTERMATH_S, wal
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.people import People
from tests.bench.instruments.processor import cpu_s
from tests.bench.report import Findings, Table, Target, counted, number, ratio
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD
from tests.harness.metrics.samples import total
from tests.harness.polling import pause

CONNECTIONS = (1, 8, 32)

# The module must not make a storm slower, ask more than once about a duplicate, or
# write more than so much of what stock writes.
LEAST_RATIO, MOST_STATEMENTS, MOST_WAL = 1.0, 1.05, 0.1

# Synapse's own counts of what was executed.
_TRANSACTIONS = "synapse_storage_transaction_time_count_total"
_QUERIES = "synapse_storage_query_time_count"
_OF_MODULE = 'desc="withheld_'

_STORMS = count()

_COSTS = (
    "All that happens meanwhile, by the number of requests: Synapse's regular work is "
    "in it. 'empty': a request without any message, on stock. Processor: of Synapse "
    "and its database."
)


class LoadError(Exception):
    """The process that sends did not do its work."""


@attrs.frozen
class Taken:
    """What was taken since a Synapse and its database began.

    Attributes:
        cpu_s: Seconds of processor.
        wal_bytes: Bytes of WAL; 0 on SQLite.
        statements: All that were executed.
        of_module: The module's transactions, of one statement each.
    """

    cpu_s: float
    wal_bytes: int
    statements: float
    of_module: float

    @classmethod
    async def by(cls, lane: Lane) -> Taken:
        """Look at all of it."""
        metrics = await lane.homeserver.metrics()
        of_module = (
            times
            for name, times in metrics.items()
            if name.startswith(_TRANSACTIONS) and _OF_MODULE in name
        )
        return cls(
            cpu_s(lane),
            0 if lane.on_sqlite else wal(lane.homeserver),
            total(metrics, _QUERIES),
            sum(of_module),
        )


@attrs.frozen
class Storm:
    """What one storm was like."""

    sent: int
    failed: int
    seconds: float
    before: Taken
    after: Taken

    @property
    def rate(self) -> float:
        """Return the requests per second."""
        return self.sent / self.seconds


@attrs.frozen
class Side:
    """One of the two Synapses, who is on it, and its storms by connections.

    Attributes:
        empty: Storms of requests without any message.
    """

    lane: Lane
    people: People
    storms: dict[int, list[Storm]] = attrs.Factory(dict)
    empty: dict[int, list[Storm]] = attrs.Factory(dict)

    def rate(self, connections: int) -> float:
        """Return the median of the requests per second."""
        return median(storm.rate for storm in self.storms[connections])

    def each(self, connections: int, what: str, *, empty: bool = False) -> float:
        """Return what a request took of something, the mean of all rounds."""
        storms = (self.empty if empty else self.storms)[connections]
        taken = sum(
            getattr(each.after, what) - getattr(each.before, what) for each in storms
        )
        sent: int = sum(each.sent for each in storms)
        return float(taken) / sent


async def measure(
    lanes: tuple[Lane, Lane], sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Time storms on two Synapses, in turns."""
    sides = [Side(lane, await People.on(lane)) for lane in lanes]
    for side in sides:
        await _run(side, 8, 1.0, sizes.most, side.people.messages(WITHHELD))
    for connections in CONNECTIONS:
        for number_ in range(sizes.rounds):
            for side in sides:
                messages = side.people.messages(WITHHELD)
                how = (connections, sizes.seconds, sizes.most)
                storm = await _run(side, *how, messages)
                side.storms.setdefault(connections, []).append(storm)
                say(
                    f"  {side.lane.name}, {connections} connections, round "
                    f"{number_ + 1}: {storm.rate:.0f} requests/s"
                )
                if not side.lane.has_module:
                    empty = await _run(side, *how, {})
                    side.empty.setdefault(connections, []).append(empty)
    tables = [_table(sides, sizes), _table_of_costs(sides)]
    return Findings(tables, list(_targets(sides)))


async def _run(
    side: Side,
    connections: int,
    seconds: float,
    most: int,
    messages: Mapping[str, Any],
) -> Storm:
    people, address = side.people, urlsplit(side.lane.homeserver.base_url)
    order = {
        "host": address.hostname,
        "port": address.port,
        "path": f"/_matrix/client/v3/sendToDevice/{WITHHELD}/storm{next(_STORMS)}-",
        "token": people.sender.access_token,
        "body": json.dumps({"messages": messages}),
        "connections": connections,
        "seconds": seconds,
        "most": most,
    }
    command = (str(Path(load.__file__)), json.dumps(order))
    start: Any = getProcessOutputAndValue
    before = await Taken.by(side.lane)
    output, errors, code = await start(sys.executable, command)
    if code != 0:
        raise LoadError(errors.decode(errors="replace"))
    # What is done after the answers is part of it.
    await pause(AFTERMATH_S)
    return Storm(**json.loads(output), before=before, after=await Taken.by(side.lane))


def _table(sides: Sequence[Side], sizes: Sizes) -> Table:
    stock, module = sides
    return Table(
        f"A storm of duplicates of one pair on {_database(stock)}, requests per second",
        ("connections", "stock", "module", "ratio", "stock, range", "module, range"),
        [
            (
                str(connections),
                f"{stock.rate(connections):,.0f}",
                f"{module.rate(connections):,.0f}",
                ratio(module.rate(connections), stock.rate(connections)),
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


def _table_of_costs(sides: Sequence[Side]) -> Table:
    stock, module = sides
    header = (
        "connections",
        "the module's statements",
        *("statements, stock", "module"),
        *("WAL bytes, stock", "module", "ratio"),
        *("processor ms, empty", "stock", "module", "ratio"),
    )
    rows = []
    for connections in CONNECTIONS:
        logged = [each.each(connections, "wal_bytes") for each in sides]
        taken = [1000 * each.each(connections, "cpu_s") for each in sides]
        empty = 1000 * stock.each(connections, "cpu_s", empty=True)
        rows.append(
            (
                str(connections),
                f"{module.each(connections, 'of_module'):.2f}",
                *(f"{each.each(connections, 'statements'):.2f}" for each in sides),
                *(f"{each:,.0f}" for each in logged),
                ratio(logged[1], logged[0]),
                f"{empty:.2f}",
                *(f"{each:.2f}" for each in taken),
                ratio(taken[1], taken[0]),
            )
        )
    return Table(
        f"What a duplicate costs there, on {_database(stock)}", header, rows, [_COSTS]
    )


def _database(side: Side) -> str:
    return "SQLite" if side.lane.on_sqlite else "PostgreSQL"


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
    on = _database(stock)
    for connections in CONNECTIONS:
        over = counted(connections, "connection")
        faster = module.rate(connections) / stock.rate(connections)
        yield Target(
            f"requests/s in a storm on {on}, {over}",
            f"at least {LEAST_RATIO:.2f} of stock",
            f"{faster:.2f}",
            faster >= LEAST_RATIO,
            binding=False,
        )
        asked = module.each(connections, "of_module")
        yield Target(
            f"the module's statements per duplicate of a storm on {on}, {over}",
            f"at most {MOST_STATEMENTS}",
            f"{asked:.2f}",
            asked <= MOST_STATEMENTS,
            binding=True,
        )
        if not stock.lane.on_sqlite:
            logged = [each.each(connections, "wal_bytes") for each in sides]
            yield Target(
                f"WAL per duplicate of a storm, {over}",
                f"at most {MOST_WAL} of stock",
                ratio(logged[1], logged[0]),
                logged[1] <= MOST_WAL * logged[0],
                binding=True,
            )
    failed = sum(
        storm.failed
        for side in sides
        for some in side.storms.values()
        for storm in some
    )
    name = f"requests of the storms that failed on {on}"
    yield Target(name, "0", str(failed), failed == 0, binding=True)
    rows = module.lane.rows_in_mailbox(module.people.recipient)
    name = f"rows in the mailbox after the storms on {on}"
    yield Target(name, "1", str(rows), rows == 1, binding=True)

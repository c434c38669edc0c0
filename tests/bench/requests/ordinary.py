"""Statements added to requests that hold no duplicates: there must be none."""

from __future__ import annotations

from typing import Iterable, Mapping

import attrs

from synapse_withheld.database.sql import MOST_KEYS
from tests.bench.instruments.counting import count
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.messages import DUMMY
from tests.bench.instruments.people import People
from tests.bench.instruments.sqllog import Statements
from tests.bench.report import Findings, Table, Target, counted
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import ENCRYPTED, WITHHELD
from tests.harness.together import together

TYPES = (ENCRYPTED, DUMMY)

_NOTES = (
    (
        "With the module, all devices had a pair remembered when the ordinary messages "
        "came, and the Olm messages re-armed those."
    ),
    f"The module names up to {MOST_KEYS} mailboxes or rows in one statement.",
)


@attrs.frozen
class Measured:
    """What requests caused on one Synapse.

    Attributes:
        ordinary: For type and number of devices, each request's statements.
        first: Those of the first notice to many devices.
        repeated: Those of each repetition of it.
    """

    ordinary: Mapping[tuple[str, int], tuple[Statements, ...]]
    first: Statements
    repeated: tuple[Statements, ...]


async def measure(lanes: tuple[Lane, Lane], sizes: Sizes) -> Findings:
    """Count the statements of requests on each of two Synapses."""
    stock, module = await together(*(_measure(lane, sizes) for lane in lanes))
    targets = [
        *(_none_added(key, stock, module) for key in stock.ordinary),
        *_bounded(module, sizes.devices),
    ]
    return Findings([_table(stock, module, sizes)], targets)


async def _measure(lane: Lane, sizes: Sizes) -> Measured:
    people = await People.on(lane)
    many = lane.add_devices(people.recipient, sizes.devices)

    async def send(message_type: str, devices: list[str]) -> Statements:
        window = await count(lane, lambda: people.send(message_type, devices))
        return window.statements

    # Before Python 3.11 a comprehension inside another could not await.
    async def repeat(message_type: str, devices: list[str]) -> tuple[Statements, ...]:
        return tuple([await send(message_type, devices) for _ in range(sizes.requests)])

    # Fills Synapse's caches; the notice to its one device is not of the many.
    for message_type in (*TYPES, WITHHELD):
        await people.send(message_type)
    # The notices come first, so that the module remembers pairs of all devices
    # when the ordinary messages come.
    first = await send(WITHHELD, many)
    repeated = await repeat(WITHHELD, many)
    ordinary = {
        (message_type, len(devices)): await repeat(message_type, devices)
        for message_type in TYPES
        for devices in (many[:1], many)
    }
    return Measured(ordinary, first, repeated)


def _table(stock: Measured, module: Measured, sizes: Sizes) -> Table:
    notice = f"notice, {counted(sizes.devices, 'device')}"
    rows = [
        _row(f"{kind}, {counted(devices, 'device')}", stock.ordinary[key], found)
        for key, found in module.ordinary.items()
        for kind, devices in [key]
    ]
    return Table(
        "Statements of one request, exactly",
        ("request", "stock", "with module", "of these the module's"),
        [
            *rows,
            _row(f"{notice}, first", (stock.first,), (module.first,)),
            _row(f"{notice}, repeated", stock.repeated, module.repeated),
        ],
        [f"Requests of a kind: {sizes.requests}; a range where they differ.", *_NOTES],
    )


def _row(
    label: str, stock: Iterable[Statements], module: Iterable[Statements]
) -> tuple[str, ...]:
    return (
        label,
        _span(each.total for each in stock),
        _span(each.total for each in module),
        _span(each.of_module for each in module),
    )


def _span(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _none_added(key: tuple[str, int], stock: Measured, module: Measured) -> Target:
    message_type, devices = key
    of_stock = sorted(each.total for each in stock.ordinary[key])
    of_module = sorted(each.total for each in module.ordinary[key])
    own = sum(each.of_module for each in module.ordinary[key])
    return Target(
        f"statements added to {message_type}, {counted(devices, 'device')}",
        "0",
        str(of_module[len(of_module) // 2] - of_stock[len(of_stock) // 2]),
        of_module == of_stock and own == 0,
        binding=True,
    )


def _bounded(module: Measured, devices: int) -> Iterable[Target]:
    most = -(-devices // MOST_KEYS)
    measured = (("first", (module.first,)), ("repeated", module.repeated))
    for when, statements in measured:
        found = max(each.of_module for each in statements)
        name = f"the module's statements for a notice to {devices:,} devices, {when}"
        yield Target(name, f"1 to {most}", str(found), 0 < found <= most, binding=True)

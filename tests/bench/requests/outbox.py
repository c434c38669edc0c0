"""What messages for other servers cost: statements, rows in the outbox, WAL."""

from __future__ import annotations

from typing import Mapping

import attrs

from tests.bench.instruments.counting import Window, count, wal_of_requests, watch_idle
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.messages import DUMMY
from tests.bench.instruments.people import People
from tests.bench.report import Findings, Table, Target, number, ratio
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import ENCRYPTED, WITHHELD
from tests.harness.together import together

SERVER = "elsewhere.test"
RECIPIENT = f"@away:{SERVER}"
DEVICE = "AWAY"
ORDINARY = (ENCRYPTED, DUMMY)
FIRST, DUPLICATE, REARMED = "notice, first", "notice, duplicate", "notice, re-armed"

_HEADER = ("one request for a device on another server", "stock", "module", "ratio")
_HOW = (
    "Statements are exact, as above. Nothing is sent: the other server is away. "
    "'re-armed': a notice after an Olm message, which supersedes the one that waits."
)


@attrs.frozen
class Measured:
    """What requests caused on one Synapse.

    Attributes:
        statements: Of one request of each kind, the mean.
        queued: By how many rows the outbox grew for a duplicate.
        wal_bytes: What a duplicate wrote.
    """

    statements: Mapping[str, float]
    queued: float
    wal_bytes: float


async def measure(lanes: tuple[Lane, Lane], sizes: Sizes) -> Findings:
    """Count what messages for another server cost on each of two Synapses."""
    stock, module = await together(*(_measure(lane, sizes) for lane in lanes))
    return Findings([_table(stock, module)], _targets(stock, module))


async def _measure(lane: Lane, sizes: Sizes) -> Measured:
    people = await People.on(lane)

    async def send(message_type: str, times: int) -> Window:
        async def work() -> None:
            for _ in range(times):
                await people.send_to(RECIPIENT, message_type, [DEVICE])

        return await count(lane, work)

    statements: dict[str, float] = {}
    first = await send(WITHHELD, 1)
    statements[FIRST] = first.statements.total
    idle = await watch_idle(lane)
    rows = lane.rows_in_outbox(SERVER)
    windows = [await send(WITHHELD, sizes.notices) for _ in range(sizes.windows)]
    queued = lane.rows_in_outbox(SERVER) - rows
    duplicates = sizes.notices * sizes.windows
    statements[DUPLICATE] = sum(w.statements.total for w in windows) / duplicates
    for message_type in ORDINARY:
        window = await send(message_type, sizes.requests)
        statements[message_type] = window.statements.total / sizes.requests
    # The Olm messages re-armed it.
    statements[REARMED] = (await send(WITHHELD, 1)).statements.total
    wal_bytes = wal_of_requests(windows, idle) / sizes.notices
    return Measured(statements, queued / duplicates, wal_bytes)


def _table(stock: Measured, module: Measured) -> Table:
    rows = [
        _row(f"statements: {kind}", stock.statements[kind], module.statements[kind])
        for kind in (*ORDINARY, FIRST, REARMED, DUPLICATE)
    ]
    rows += [
        _row("rows in the outbox: duplicate", stock.queued, module.queued),
        _row(
            "bytes of WAL: duplicate", round(stock.wal_bytes), round(module.wal_bytes)
        ),
    ]
    return Table("Messages for another server", _HEADER, rows, [_HOW])


def _targets(stock: Measured, module: Measured) -> list[Target]:
    fewer = (module.statements[DUPLICATE], stock.statements[DUPLICATE])
    return [
        *(_none_added(kind, stock, module) for kind in ORDINARY),
        Target(
            "statements per duplicate for another server",
            "fewer than stock",
            f"{number(fewer[0])}; stock {number(fewer[1])}",
            fewer[0] < fewer[1],
            binding=True,
        ),
        Target(
            "rows in the outbox per duplicate",
            "0; stock 1",
            f"{number(module.queued)}; stock {number(stock.queued)}",
            (module.queued, stock.queued) == (0, 1),
            binding=True,
        ),
    ]


def _none_added(kind: str, stock: Measured, module: Measured) -> Target:
    added = module.statements[kind] - stock.statements[kind]
    name = f"statements added to {kind} for another server"
    return Target(name, "0", number(added), added == 0, binding=True)


def _row(label: str, stock: float, module: float) -> tuple[str, str, str, str]:
    return label, number(stock), number(module), ratio(module, stock)

"""What a duplicate notice costs: statements, rows, bytes of WAL."""

from __future__ import annotations

from collections import Counter
from typing import Mapping

import attrs

from tests.bench.instruments.counting import (
    IDLE_S,
    Window,
    count,
    wal_of_requests,
    watch_idle,
)
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.people import People
from tests.bench.report import Findings, Table, Target, number, ratio
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.polling import pause
from tests.harness.together import together

# So that all caches are filled and all pages were touched since the last checkpoint.
WARM_UP = 20

MOST_WAL = 0.1

_HOW = (
    "Statements are those that Synapse logs (`synapse.storage.SQL`) with the request "
    "that each is for, so they are exact. BEGIN and COMMIT are not among them."
)
_OTHERS = (
    "Synapse's other statements: `get_count_of_delayed_events` and "
    "`update_delayed_events_stream_pos` after each wake-up, fewer where one still "
    "runs; and its regular work."
)
_WAL = (
    "WAL: `pg_current_wal_insert_lsn()` before and after each window, the idle rate "
    "taken off, the median window. Synapse writes the last use of devices every 5 s: "
    "that falls into few windows, hence the median. Each Synapse has a PostgreSQL of "
    "its own, which makes no checkpoint and vacuums nothing meanwhile."
)
_HEADER = ("per duplicate notice", "stock", "module", "ratio")


@attrs.frozen
class Measured:
    """What duplicates caused on one Synapse.

    Attributes:
        notices: How many there were.
        windows: What happened while they were sent.
        idle: What happened before, while nothing was sent.
        rows: How many rows were inserted, updated or deleted, by table.
        queued: By how many rows the mailbox grew.
    """

    notices: int
    windows: tuple[Window, ...]
    idle: Window
    rows: Mapping[str, int]
    queued: int

    @property
    def transactions(self) -> Mapping[str, float]:
        """Return the statements per notice, by transaction."""
        total: Counter[str] = Counter()
        for window in self.windows:
            total.update(window.statements.of_requests)
        return {name: each / self.notices for name, each in total.items()}

    @property
    def of_itself(self) -> float:
        """Return Synapse's other statements per notice."""
        return sum(each.statements.of_itself for each in self.windows) / self.notices

    @property
    def wal_bytes(self) -> float:
        """Return the bytes of WAL per notice."""
        per_window = self.notices / len(self.windows)
        return wal_of_requests(self.windows, self.idle) / per_window


async def measure(lanes: tuple[Lane, Lane], sizes: Sizes) -> Findings:
    """Count what duplicates of one notice cost on each of two Synapses."""
    # Both wait for the same time, and nothing here is timed.
    stock, module = await together(*(_measure(lane, sizes) for lane in lanes))
    return Findings([_totals(stock, module)], _targets(stock, module))


async def _measure(lane: Lane, sizes: Sizes) -> Measured:
    people = await People.on(lane)
    for _ in range(WARM_UP):
        await people.send(WITHHELD)
    idle = await watch_idle(lane)
    rows, queued = rows_written(lane.homeserver), lane.rows_in_mailbox(people.recipient)

    async def send_some() -> None:
        for _ in range(sizes.notices):
            await people.send(WITHHELD)

    windows = [await count(lane, send_some) for _ in range(sizes.windows)]
    # PostgreSQL's processes tell what they wrote once they were idle for 10 s.
    await pause(IDLE_S)
    written = Counter(rows_written(lane.homeserver))
    written.subtract(rows)
    return Measured(
        sizes.windows * sizes.notices,
        tuple(windows),
        idle,
        written,
        lane.rows_in_mailbox(people.recipient) - queued,
    )


def rows_written(homeserver: Homeserver) -> dict[str, int]:
    """Return how many rows were inserted, updated or deleted in each table."""
    return dict(
        homeserver.query(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
        )
    )


def _totals(stock: Measured, module: Measured) -> Table:
    both = (stock, module)
    return Table(
        f"A duplicate notice, mean of {stock.notices}, one after the other, one pair",
        _HEADER,
        [
            _row("statements of the request", *(_total(m.transactions) for m in both)),
            _row("of these the module's", *(_of_module(m) for m in both)),
            _row("Synapse's other statements", *(m.of_itself for m in both)),
            _row("rows written, all tables", *(_rows(m) for m in both)),
            _row("growth of the mailbox, rows", *(m.queued / m.notices for m in both)),
            _row("bytes of WAL", *(round(m.wal_bytes) for m in both)),
        ],
        [_HOW, _OTHERS, _WAL, _idle_note(stock, module)],
    )


def _idle_note(stock: Measured, module: Measured) -> str:
    windows = len(stock.windows)
    rates = [each.idle.wal_bytes / each.idle.seconds for each in (stock, module)]
    return (
        f"WAL windows: {windows} of {stock.notices // windows} notices; idle rates "
        f"{rates[0]:.0f} (stock) and {rates[1]:.0f} (module) bytes/s."
    )


def _targets(stock: Measured, module: Measured) -> list[Target]:
    wal = module.wal_bytes / stock.wal_bytes
    queued = [each.queued / each.notices for each in (module, stock)]
    return [
        _fewer("statements", _total(module.transactions), _total(stock.transactions)),
        _fewer("rows written in all tables", _rows(module), _rows(stock)),
        Target(
            "rows queued per duplicate",
            "0; stock 1",
            f"{number(queued[0])}; stock {number(queued[1])}",
            queued == [0, 1],
            binding=True,
        ),
        Target(
            "WAL per duplicate",
            f"< {MOST_WAL:.2f} of stock",
            f"{wal:.2f}",
            wal < MOST_WAL,
            binding=True,
        ),
    ]


def _fewer(what: str, module: float, stock: float) -> Target:
    found = f"{number(module)}; stock {number(stock)}"
    return Target(
        f"{what} per duplicate", "fewer than stock", found, module < stock, binding=True
    )


def _total(transactions: Mapping[str, float]) -> float:
    return sum(transactions.values())


def _of_module(measured: Measured) -> float:
    own = sum(each.statements.of_module for each in measured.windows)
    return own / measured.notices


def _rows(measured: Measured) -> float:
    return sum(measured.rows.values()) / measured.notices


def _row(label: str, stock: float, module: float) -> tuple[str, str, str, str]:
    return label, number(stock), number(module), ratio(module, stock)

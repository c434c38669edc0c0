"""Two Synapses to compare, each with a database of its own."""

from __future__ import annotations

import json
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Tuple

import attrs

from tests.bench.report import Findings
from tests.harness.client import Client
from tests.harness.rules import EVERY_RULE
from tests.harness.samples import HOUSEKEEPING
from tests.harness.servers.homeserver import Homeserver, running
from tests.harness.servers.postgres import PostgresServer
from tests.harness.waiting import pause

STOCK, MODULE = "stock", "module"

# What PostgreSQL does by itself must not fall into one measurement and not into
# another: a checkpoint makes it log whole pages at their next change.
_QUIET_POSTGRES = (
    "checkpoint_timeout = '1h'",
    "max_wal_size = '8GB'",
    "autovacuum = off",
)

# Nor what a new Synapse does in the background, slowly so as not to disturb.
_QUIET_SYNAPSE = {
    "send_federation": False,
    "background_updates": {"sleep_enabled": False},
    "stats": {"enabled": False},
}

# A new Synapse fills tables and builds indexes in the background first.
_SETTLED_WITHIN_S = 60
_LOOK_EVERY_S = 0.2

# Where many values come from, of the texts in a JSON list: on SQLite, or not.
_MANY = {True: "json_each(?)", False: "json_array_elements_text(CAST(? AS JSON))"}


@attrs.frozen
class Lane:
    """One of the two Synapses; its files are in the directory."""

    name: str
    directory: Path
    homeserver: Homeserver
    on_sqlite: bool

    @property
    def has_module(self) -> bool:
        return self.name == MODULE

    @property
    def database(self) -> str:
        return "SQLite" if self.on_sqlite else "PostgreSQL"

    def add_devices(self, client: Client, count: int) -> list[str]:
        """Give a user many devices, straight in the database; return their IDs."""
        device_ids = [f"MANY{number:05}" for number in range(count)]
        many = _MANY[self.on_sqlite]
        self.homeserver.query(
            "INSERT INTO devices (user_id, device_id, display_name, hidden) "  # noqa: S608
            f"SELECT ?, value, 'one of many', FALSE FROM {many}",
            (client.user_id, json.dumps(device_ids)),
        )
        return device_ids

    def rows_in_mailbox(self, client: Client) -> int:
        ((rows,),) = self.homeserver.query(
            "SELECT COUNT(*) FROM device_inbox WHERE user_id = ? AND device_id = ?",
            (client.user_id, client.device_id),
        )
        return int(rows)

    async def to_learn(self) -> float:
        """Return how many mailboxes are to be learned; none on stock."""
        if not self.has_module:
            return 0.0
        metrics = await self.homeserver.metrics()
        return metrics[f'{HOUSEKEEPING}{{work="learn"}}']

    async def at_rest(self) -> None:
        """Wait until all mailboxes are learned: of one who, few may be at once."""
        while await self.to_learn():
            await pause(_LOOK_EVERY_S)

    async def settled(self) -> None:
        """Wait until a new Synapse has done what it does once."""
        for _ in range(_SETTLED_WITHIN_S):
            sql = "SELECT COUNT(*) FROM background_updates"
            if self.homeserver.query(sql) == [(0,)]:
                return
            await pause(1)


Lanes = Tuple[Lane, Lane]


@asynccontextmanager
async def two_lanes(
    directory: Path, *, on_sqlite: bool = False
) -> AsyncIterator[Lanes]:
    """Start a stock Synapse and one with the module, every rule on, on empty databases.

    Args:
        directory: Where their files go.
        on_sqlite: Whether their databases are of SQLite, otherwise of PostgreSQL.
    """
    with ExitStack() as stack:
        rules = {"rules": attrs.asdict(EVERY_RULE)}
        stock = _lane(stack, directory / STOCK, None, on_sqlite=on_sqlite)
        module = _lane(stack, directory / MODULE, rules, on_sqlite=on_sqlite)
        async with running(stock.homeserver, module.homeserver):
            for lane in (stock, module):
                await lane.settled()
            yield stock, module


def _lane(stack: ExitStack, directory: Path, module: Any, *, on_sqlite: bool) -> Lane:
    directory.mkdir(parents=True)
    database = None
    if not on_sqlite:
        postgres = PostgresServer(directory / "postgres")
        stack.callback(postgres.stop)
        database = postgres.database()
    files = directory / "synapse"
    homeserver = Homeserver(
        files, module=module, database=database, config=_QUIET_SYNAPSE
    )
    if not on_sqlite:
        for setting in _QUIET_POSTGRES:
            homeserver.query(f"ALTER SYSTEM SET {setting}")
        homeserver.query("SELECT pg_reload_conf()")
    return Lane(directory.name, directory, homeserver, on_sqlite)


async def on_both_databases(
    directory: Path, measure: Callable[[Lanes], Awaitable[Findings]]
) -> Findings:
    parts = []
    for on_sqlite in (True, False):
        where = directory / str(on_sqlite)
        async with two_lanes(where, on_sqlite=on_sqlite) as lanes:
            parts.append(await measure(lanes))
    return Findings.joined(parts)

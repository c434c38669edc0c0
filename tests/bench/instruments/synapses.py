"""Synapses to compare, each with a database of its own."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Tuple
from urllib.parse import urlsplit

import attrs

from tests.bench.report import Findings
from tests.harness.client import Client
from tests.harness.rules import EVERY_RULE
from tests.harness.servers.homeserver import Homeserver, running
from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.stage import to_do
from tests.harness.waiting import become, pause

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

_ADD_DEVICES = """
    INSERT INTO devices (user_id, device_id, display_name, hidden)
    WITH RECURSIVE many (n) AS (
        SELECT 10000 UNION ALL SELECT n + 1 FROM many WHERE n < 10000 + ? - 1
    )
    SELECT ?, 'MANY' || n, 'one of many', FALSE FROM many
"""


@attrs.frozen
class Lane:
    """A Synapse; its files are in the directory.

    Attributes:
        database: The section of its configuration, `None` for SQLite.
    """

    name: str
    directory: Path
    homeserver: Homeserver
    database: dict[str, Any] | None

    @property
    def driver(self) -> str:
        return "PostgreSQL" if self.database else "SQLite"

    def add_devices(self, client: Client, count: int) -> list[str]:
        """Give a user many devices, straight in the database; return their IDs."""
        self.homeserver.query(_ADD_DEVICES, (count, client.user_id))
        return [f"MANY{10_000 + number}" for number in range(count)]

    async def at_rest(self) -> None:
        """Wait until the module has nothing to do in the background."""
        while await to_do(self.homeserver):
            await pause(_LOOK_EVERY_S)

    def order(self, **more: Any) -> dict[str, Any]:
        """Return what requests to it are made by, in a process of its own."""
        address = urlsplit(self.homeserver.base_url)
        where = {"host": address.hostname, "port": address.port}
        return {**where, "pid": self.homeserver.pid, **more}


Lanes = Tuple[Lane, Lane]


@asynccontextmanager
async def one_lane(
    name: str, module: Any, directory: Path, *, on_sqlite: bool = False
) -> AsyncIterator[Lane]:
    """Run a Synapse on a new database, with the module if that is configured."""
    files = directory / name
    files.mkdir(parents=True)
    with ExitStack() as stack:
        database = None
        if not on_sqlite:
            postgres = PostgresServer(files / "postgres")
            stack.callback(postgres.stop)
            database = postgres.database()
        homeserver = Homeserver(
            files, module=module, database=database, config=_QUIET_SYNAPSE
        )
        if not on_sqlite:
            for setting in _QUIET_POSTGRES:
                homeserver.query(f"ALTER SYSTEM SET {setting}")
            homeserver.query("SELECT pg_reload_conf()")
        async with running(homeserver):
            sql = "SELECT COUNT(*) FROM background_updates"
            await become(lambda: homeserver.query(sql) == [(0,)], _SETTLED_WITHIN_S)
            yield Lane(name, files, homeserver, database)


@asynccontextmanager
async def two_lanes(
    directory: Path, *, on_sqlite: bool = False
) -> AsyncIterator[Lanes]:
    """Run a stock Synapse and one with the module, every rule on."""
    rules = {"rules": attrs.asdict(EVERY_RULE)}
    async with (
        one_lane(STOCK, None, directory, on_sqlite=on_sqlite) as stock,
        one_lane(MODULE, rules, directory, on_sqlite=on_sqlite) as module,
    ):
        yield stock, module


async def on_both_databases(
    directory: Path, measure: Callable[[Lanes], Awaitable[Findings]]
) -> Findings:
    found: Findings = []
    for on_sqlite in (True, False):
        where = directory / str(on_sqlite)
        async with two_lanes(where, on_sqlite=on_sqlite) as lanes:
            found += await measure(lanes)
    return found

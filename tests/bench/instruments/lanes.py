"""Two Synapses to compare, each with a database of its own."""

from __future__ import annotations

import json
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator

import attrs

from tests.bench.instruments.sqllog import SqlLog
from tests.harness.clients.matrix import Client
from tests.harness.databases.postgres import PostgresServer
from tests.harness.homeservers.homeserver import Homeserver, running
from tests.harness.rules import EVERY_RULE

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

# Where many values come from, of the texts in a JSON list: on SQLite, or not.
_MANY = {True: "json_each(?)", False: "json_array_elements_text(CAST(? AS JSON))"}

_CONFIG = {"rules": attrs.asdict(EVERY_RULE)}


@attrs.frozen
class Lane:
    """One of the two Synapses.

    Attributes:
        directory: Where its files are.
        sql_log: Where it logs its statements; an empty one if it does not.
    """

    name: str
    directory: Path
    homeserver: Homeserver
    sql_log: SqlLog
    on_sqlite: bool

    @property
    def has_module(self) -> bool:
        """Say whether it loads the module."""
        return self.name == MODULE

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
        """Return how many messages are queued for a device."""
        ((rows,),) = self.homeserver.query(
            "SELECT COUNT(*) FROM device_inbox WHERE user_id = ? AND device_id = ?",
            (client.user_id, client.device_id),
        )
        return int(rows)


@asynccontextmanager
async def two_lanes(
    directory: Path, *, log_statements: bool, on_sqlite: bool = False
) -> AsyncIterator[tuple[Lane, Lane]]:
    """Start a stock Synapse and one with the module, every rule on, on empty databases.

    Args:
        directory: Where their files go.
        log_statements: Whether they log their statements, which takes time.
        on_sqlite: Whether their databases are of SQLite, otherwise of PostgreSQL.
    """
    with ExitStack() as stack:
        stock, module = (
            _make_lane(
                stack,
                directory / name,
                config,
                log_statements=log_statements,
                on_sqlite=on_sqlite,
            )
            for name, config in ((STOCK, None), (MODULE, _CONFIG))
        )
        lanes = (stock, module)
        async with running(*(lane.homeserver for lane in lanes)):
            yield lanes


def _make_lane(
    stack: ExitStack,
    directory: Path,
    module: dict[str, Any] | None,
    *,
    log_statements: bool,
    on_sqlite: bool,
) -> Lane:
    directory.mkdir(parents=True)
    sql_log, logging_config = SqlLog.prepare(directory)
    database = None
    if not on_sqlite:
        postgres = PostgresServer(directory / "postgres")
        stack.callback(postgres.stop)
        database = postgres.database()
    homeserver = Homeserver(
        directory / "synapse",
        module=module,
        database=database,
        config={**_QUIET_SYNAPSE, **(logging_config if log_statements else {})},
    )
    if not on_sqlite:
        for setting in _QUIET_POSTGRES:
            homeserver.query(f"ALTER SYSTEM SET {setting}")
        homeserver.query("SELECT pg_reload_conf()")
    return Lane(directory.name, directory, homeserver, sql_log, on_sqlite)

"""Two Synapses to compare, each with a PostgreSQL of its own."""

from __future__ import annotations

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

# Nor what a new Synapse does in the background, slowly so as not to disturb. What is
# for other servers stays in the outbox, as if they were away.
_QUIET_SYNAPSE = {
    "send_federation": False,
    "background_updates": {"sleep_enabled": False},
    "stats": {"enabled": False},
}

_CONFIG = {"rules": attrs.asdict(EVERY_RULE)}


@attrs.frozen
class Lane:
    """One of the two Synapses.

    Attributes:
        sql_log: Where it logs its statements; an empty one if it does not.
    """

    name: str
    homeserver: Homeserver
    sql_log: SqlLog

    @property
    def has_module(self) -> bool:
        """Say whether it loads the module."""
        return self.name == MODULE

    def add_devices(self, client: Client, count: int) -> list[str]:
        """Give a user many devices, straight in the database; return their IDs."""
        device_ids = [f"MANY{number:05}" for number in range(count)]
        self.homeserver.query(
            "INSERT INTO devices (user_id, device_id, display_name, hidden) "
            "SELECT ?, many.id, 'one of many', FALSE "
            "FROM UNNEST(CAST(? AS TEXT[])) AS many (id)",
            (client.user_id, device_ids),
        )
        return device_ids

    def rows_in_mailbox(self, client: Client) -> int:
        """Return how many messages are queued for a device."""
        ((rows,),) = self.homeserver.query(
            "SELECT COUNT(*) FROM device_inbox WHERE user_id = ? AND device_id = ?",
            (client.user_id, client.device_id),
        )
        return int(rows)

    def rows_in_outbox(self, destination: str) -> int:
        """Return how many EDUs wait for another server."""
        ((rows,),) = self.homeserver.query(
            "SELECT COUNT(*) FROM device_federation_outbox WHERE destination = ?",
            (destination,),
        )
        return int(rows)


@asynccontextmanager
async def two_lanes(
    directory: Path, *, log_statements: bool
) -> AsyncIterator[tuple[Lane, Lane]]:
    """Start a stock Synapse and one with the module, every rule on, on empty databases.

    Args:
        directory: Where their files go.
        log_statements: Whether they log their statements, which takes time.
    """
    with ExitStack() as stack:
        lanes = (
            _make_lane(stack, directory / STOCK, None, log_statements=log_statements),
            _make_lane(
                stack, directory / MODULE, _CONFIG, log_statements=log_statements
            ),
        )
        async with running(*(lane.homeserver for lane in lanes)):
            yield lanes


def _make_lane(
    stack: ExitStack,
    directory: Path,
    module: dict[str, Any] | None,
    *,
    log_statements: bool,
) -> Lane:
    directory.mkdir(parents=True)
    sql_log, logging_config = SqlLog.prepare(directory)
    postgres = PostgresServer(directory / "postgres")
    stack.callback(postgres.stop)
    homeserver = Homeserver(
        directory / "synapse",
        module=module,
        database=postgres.database(),
        config={**_QUIET_SYNAPSE, **(logging_config if log_statements else {})},
    )
    for setting in _QUIET_POSTGRES:
        homeserver.query(f"ALTER SYSTEM SET {setting}")
    homeserver.query("SELECT pg_reload_conf()")
    return Lane(directory.name, homeserver, sql_log)

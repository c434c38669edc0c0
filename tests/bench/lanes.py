"""Synapses to compare, each with a database of its own, and what they take."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, NamedTuple

import attrs

from tests.bench import asking
from tests.harness.client import Client
from tests.harness.process import Process
from tests.harness.rules import EVERY_RULE
from tests.harness.samples import total
from tests.harness.servers.homeserver import Homeserver, running
from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.stage import Two, to_do
from tests.harness.waiting import become, pause

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

# What comes after an answer is over where so few seconds of a processor are taken in so
# many; or after so many looks.
_QUIET_S, _QUIET_FOR_S, _LOOKS = 0.015, 0.5, 240

_ADD_DEVICES = """
    INSERT INTO devices (user_id, device_id, display_name, hidden)
    WITH RECURSIVE many (n) AS (
        SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < ?
    )
    SELECT ?, 'MANY' || n, 'one of many', FALSE FROM many
"""
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"


class Taken(NamedTuple):
    """What requests took of a Synapse and its database."""

    cpu_s: float
    wal_bytes: float  # 0 on SQLite
    statements: float
    of_module: float  # its transactions, of one statement each


@attrs.frozen
class Lane:
    """A Synapse; its files are in the directory."""

    name: str
    directory: Path
    homeserver: Homeserver
    database: dict[str, Any] | None  # as it is configured; none is SQLite

    @property
    def driver(self) -> str:
        return "PostgreSQL" if self.database else "SQLite"

    def add_devices(self, client: Client, count: int) -> list[str]:
        """Give a user many devices, straight in the database; return their IDs."""
        self.homeserver.query(_ADD_DEVICES, (count, client.user_id))
        return [f"MANY{number + 1}" for number in range(count)]

    async def each(self, requests: Callable[[], Awaitable[int]]) -> Taken:
        """Make requests; return what one of them took, with all that follows."""
        await self.rest()
        before, began_s = await self._counts(), self._cpu_s()
        count = await requests()
        cpu_s = await self.rest() - began_s
        counts = zip(await self._counts(), before)
        return Taken(cpu_s / count, *((now - then) / count for now, then in counts))

    async def rest(self) -> float:
        """Wait until nothing is done any more; return the processor time so far."""
        after = self._cpu_s()
        for _ in range(_LOOKS):
            before = after
            await pause(_QUIET_FOR_S)
            after = self._cpu_s()
            if after - before < _QUIET_S and not await to_do(self.homeserver):
                break
        return after

    async def _counts(self) -> tuple[float, float, float]:
        metrics = await self.homeserver.metrics()
        of_module = (
            times
            for name, times in metrics.items()
            if name.startswith("synapse_storage_transaction_time_count_total")
            and 'desc="withheld_' in name
        )
        [[wal_bytes]] = self.homeserver.query(_WAL) if self.database else [[0]]
        statements = total(metrics, "synapse_storage_query_time_count")
        return float(wal_bytes), statements, sum(of_module)

    def _cpu_s(self) -> float:
        pids = [self.homeserver.pid or 0]
        if self.database:
            pids += [pid for (pid,) in self.homeserver.query(_BACKENDS)]
        taken_s = 0.0
        for pid in pids:
            # A connection may have ended.
            with suppress(OSError):
                taken_s += time.clock_gettime(asking.clock_of(pid))
        return taken_s

    @asynccontextmanager
    async def asked(self, path: str, **how: Any) -> AsyncIterator[Process]:
        """Have a process of its own make requests, as `asking` does; it prints them."""
        url, directory = self.homeserver.base_url + path, self.directory / "asking"
        order = json.dumps({"url": url, "pid": self.homeserver.pid, **how})
        process = Process(directory, directory / "answers")
        process.start(sys.executable, asking.__file__, order)
        try:
            yield process
        finally:
            await process.end()


@asynccontextmanager
async def lane(
    directory: Path, module: dict[str, Any] | None, *, on_sqlite: bool = False
) -> AsyncIterator[Lane]:
    """Run a Synapse on a new database, with the module if that is configured."""
    name = "stock" if module is None else "module"
    files = directory / f"{name}{'-sqlite' * on_sqlite}"
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
        if database:
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
) -> AsyncIterator[tuple[Lane, Lane]]:
    """Run a stock Synapse and one with the module, every rule on."""
    rules = {"rules": attrs.asdict(EVERY_RULE)}
    async with (
        lane(directory, None, on_sqlite=on_sqlite) as stock,
        lane(directory, rules, on_sqlite=on_sqlite) as module,
    ):
        yield stock, module


async def each_duplicate(lane: Lane, two: Two, count: int) -> Taken:
    """Send a notice again and again; return what one took, the first left out."""

    async def send() -> int:
        for _ in range(count):
            await two.send(two.notice())
        return count

    await two.send(two.notice())
    return await lane.each(send)

"""Synapses to compare, on PostgreSQL, and what requests take of them."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Mapping, NamedTuple

import attrs

from tests.bench import asking
from tests.harness.process import Process
from tests.harness.rules import EVERY_RULE
from tests.harness.samples import total
from tests.harness.servers.homeserver import Homeserver, running
from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.stage import Two
from tests.harness.waiting import eventually, pause

COMPARED = {"stock": None, "module": {"rules": attrs.asdict(EVERY_RULE)}}

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

# What comes after an answer is over where so few seconds of a processor are taken in so
# many; or after so many looks.
_QUIET_S, _QUIET_FOR_S, _LOOKS = 0.015, 0.5, 240

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
_UPDATES = "SELECT COUNT(*) FROM background_updates"
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"


class Taken(NamedTuple):
    """What requests took of a Synapse and its database."""

    cpu_s: float
    wal_bytes: float
    statements: float
    of_module: float  # its transactions, of one statement each


@attrs.frozen
class Lane:
    """A Synapse; its files are in the directory."""

    name: str
    directory: Path
    homeserver: Homeserver
    database: dict[str, Any]  # as it is configured

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
            if after - before < _QUIET_S and not await self.homeserver.to_do():
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
        [[wal_bytes]] = self.homeserver.query(_WAL)
        statements = total(metrics, "synapse_storage_query_time_count")
        return float(wal_bytes), statements, sum(of_module)

    def _cpu_s(self) -> float:
        """Return what Synapse and its database took of a processor: nobody else."""
        taken_s = 0.0
        own = self.homeserver.process.pid
        for (pid,) in [(own,), *self.homeserver.query(_BACKENDS)]:
            # A connection may have ended.
            with suppress(OSError):
                taken_s += asking.worked_s(pid)
        return taken_s

    @asynccontextmanager
    async def asked(self, path: str, **how: Any) -> AsyncIterator[Process]:
        """Have a process of its own make requests, as `asking` does; it prints them."""
        url, pid = self.homeserver.base_url + path, self.homeserver.process.pid
        order = json.dumps({"url": url, "pid": pid, **how})
        process = Process(self.directory, self.directory / "answers")
        process.start(sys.executable, asking.__file__, order)
        try:
            yield process
        finally:
            await process.end()


@asynccontextmanager
async def lanes(
    directory: Path, modules: Mapping[str, Any] = COMPARED
) -> AsyncIterator[list[Lane]]:
    """Run Synapses on new databases, with the module where that is configured."""
    directory.mkdir()
    postgres = PostgresServer(directory / "postgres")
    made = []
    for name, module in modules.items():
        files, database = directory / name, postgres.database()
        homeserver = Homeserver(
            files, module=module, database=database, config=_QUIET_SYNAPSE
        )
        made.append(Lane(name, files, homeserver, database))
    try:
        query = made[0].homeserver.query
        for setting in _QUIET_POSTGRES:
            query(f"ALTER SYSTEM SET {setting}")
        query("SELECT pg_reload_conf()")
        async with running(*(each.homeserver for each in made)):
            # A new Synapse fills tables and builds indexes in the background first.
            left = [partial(each.homeserver.query, _UPDATES) for each in made]
            await eventually(lambda: [look() for look in left], [[(0,)]] * len(made))
            yield made
    finally:
        postgres.stop()


async def each_duplicate(lane: Lane, two: Two, count: int) -> Taken:
    """Send a notice again and again; return what one took, the first left out."""

    async def send() -> int:
        for _ in range(count):
            await two.send(two.notice())
        return count

    await two.send(two.notice())
    return await lane.each(send)

"""What can go wrong around the module, stock Synapse beside it: no message is lost.

Each test tells how many messages were sent, acknowledged by Synapse, and received:
`make disasters` shows it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable

import attrs
import pytest
from twisted.internet.threads import deferToThread

from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import failures
from tests.harness.senders import (
    Persistent,
    notices_from,
    numbers_from,
    storm,
)
from tests.harness.servers.faults import POINTS, Disasters
from tests.harness.servers.homeserver import mailbox
from tests.harness.servers.stage import Stage, new_name
from tests.harness.waiting import eventually, pause, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.servers.homeserver import Homeserver
    from tests.harness.servers.postgres import PostgresServer

SENDERS, MESSAGES = 3, 45
OURS = [point for point in POINTS if point != "storing"]
# Of what happens in memory alone, one of each step is enough.
DEADLY = ("sorting", "answered", "stored", "tidying", "tidied")


@attrs.frozen
class Lane:
    """A homeserver, with the module or without, and what happens to it."""

    name: str
    homeserver: Homeserver
    disasters: Disasters

    @asynccontextmanager
    async def storm(self, what: str) -> AsyncIterator[list[Persistent]]:
        """Let senders try again until they are answered: nothing is lost."""
        recipient = await self.homeserver.register(new_name("away"))
        senders = [
            Persistent(await self.homeserver.register(new_name("storm")), recipient)
            for _ in range(SENDERS)
        ]
        async with storm(senders, MESSAGES):
            yield senders
        read = mailbox(self.homeserver, recipient)
        received = [numbers_from(each, read) for each in senders]
        told = [each.told for each in senders]
        sent, tries = (
            sum(getattr(each, name) for each in senders) for name in ("sent", "tries")
        )
        print(  # noqa: T201 for those who ask for it
            f"{self.name}, {what}: {sent} messages in {tries} requests; "
            f"{sum(map(len, told))} that are no notices acknowledged, "
            f"{sum(map(len, received))} received"
        )
        assert received == told
        assert all(notices_from(each, read) for each in senders)

    async def dies_at(self, point: str) -> None:
        self.disasters.set(kill_at=point)
        await eventually(lambda: (point, self.homeserver.runs), (point, False))
        await self.homeserver.restart()

    async def runs_out_of_memory_at(self, point: str) -> None:
        """Let memory end there, which is counted as a failure."""
        before = await failures(self.homeserver)
        self.disasters.set(raise_at=point)
        await eventually(lambda: (point, bool(self.disasters.get())), (point, False))
        await until(lambda: failures(self.homeserver), lambda found: found > before)


@pytest.fixture(scope="module", params=["stock", "module"])
def name(request: pytest.FixtureRequest) -> str:
    """Run each test on stock Synapse, and on one with the module."""
    return str(request.param)


@async_yield_fixture(scope="module")
async def lane(
    name: str, new_directory: Callable[[], Path], own_postgres: PostgresServer
) -> AsyncIterator[Lane]:
    stage = Stage(new_directory, own_postgres.database)
    disasters = Disasters(new_directory() / "disaster.json")
    module: dict[str, Any] | None = {} if name == "module" else None
    try:
        homeserver = await stage.start(module, {"modules": [disasters.module()]})
        yield Lane(name, homeserver, disasters)
    finally:
        await stage.end()


# Stock Synapse has no such steps.
with_module = pytest.mark.parametrize("name", ["module"], indirect=True, scope="module")


@in_reactor
async def test_nothing_is_lost_where_synapse_is_killed_while_it_stores(
    lane: Lane,
) -> None:
    """Rows are written, and the transaction is not committed."""
    async with lane.storm("killed at: storing"):
        await lane.dies_at("storing")


@with_module
@in_reactor
async def test_nothing_is_lost_where_synapse_is_killed_at_a_step_of_ours(
    lane: Lane,
) -> None:
    async with lane.storm(f"killed at: {', '.join(DEADLY)}"):
        for point in DEADLY:
            await lane.dies_at(point)


@with_module
@in_reactor
async def test_nothing_is_lost_where_memory_ends_at_a_step_of_ours(lane: Lane) -> None:
    async with lane.storm(f"no memory at: {', '.join(OURS)}") as senders:
        for point in OURS:
            await lane.runs_out_of_memory_at(point)
    assert [each.tries for each in senders] == [each.sent for each in senders]


@in_reactor
async def test_nothing_is_lost_while_the_reactor_is_busy_and_the_clock_jumps(
    lane: Lane,
) -> None:
    """It answers nobody for most of the time; a day ahead, and a day back."""
    async with lane.storm("reactor busy, clock jumps"):
        busy = lane.disasters.times_busy() + 5
        lane.disasters.set(busy_s=0.2)
        await eventually(lambda: lane.disasters.times_busy() >= busy, True)
        for seconds in (86_400, -86_400):
            lane.disasters.set(clock_s=seconds)
            await pause(0.3)
        lane.disasters.clear()


async def read_only(cursor: Any) -> None:
    """As a standby is, to which Synapse was led by mistake."""
    cursor.execute("SELECT current_database()")
    ((name,),) = cursor.fetchall()
    for value in ("on", "off"):
        cursor.execute(
            f"ALTER DATABASE {name} SET default_transaction_read_only = {value}"
        )
        # It holds for new connections.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_backend_pid()",
            (name,),
        )
        await pause(1)
        cursor.execute("SET default_transaction_read_only = off")


async def disk_full(cursor: Any) -> None:
    """Nothing can be written to the mailboxes, nor deleted there."""
    cursor.execute(
        """
        CREATE OR REPLACE FUNCTION disk_full() RETURNS trigger AS $$
        BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'full'; END
        $$ LANGUAGE plpgsql
        """
    )
    cursor.execute(
        "CREATE TRIGGER full_now BEFORE INSERT OR DELETE ON device_inbox "
        "FOR EACH STATEMENT EXECUTE FUNCTION disk_full()"
    )
    await pause(1)
    cursor.execute("DROP TRIGGER full_now ON device_inbox")


async def locked(cursor: Any) -> None:
    """For longer than the module's patience."""
    cursor.execute("BEGIN")
    cursor.execute("LOCK TABLE device_inbox IN ACCESS EXCLUSIVE MODE")
    await pause(3)
    cursor.execute("ROLLBACK")


@pytest.mark.parametrize("happens", [read_only, disk_full, locked])
@in_reactor
async def test_nothing_is_lost_while_the_database_does_not_work(
    lane: Lane, happens: Callable[[Any], Any]
) -> None:
    async with lane.storm(f"database {happens.__name__}"):
        with lane.homeserver.connected() as cursor:
            await happens(cursor)


@in_reactor
async def test_nothing_is_lost_while_the_database_restarts(
    lane: Lane, own_postgres: PostgresServer
) -> None:
    async with lane.storm("database restarted"):
        await deferToThread(own_postgres.restart)

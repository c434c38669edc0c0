"""What can go wrong around the module: no message is lost that Synapse acknowledged."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable

import attrs
import pytest

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
# Of what happens in memory alone, one of each step is enough. While it is "storing",
# rows are written, and the transaction is not committed.
DEADLY = ("sorting", "answered", "storing", "stored", "tidying", "tidied")


@attrs.frozen
class Place:
    """A homeserver, and what happens to it."""

    homeserver: Homeserver
    disasters: Disasters

    @asynccontextmanager
    async def storm(self) -> AsyncIterator[list[Persistent]]:
        """Let senders try again until they are answered: nothing is lost."""
        recipient = await self.homeserver.register(new_name("away"))
        senders = [
            Persistent(await self.homeserver.register(new_name("storm")), recipient)
            for _ in range(SENDERS)
        ]
        async with storm(senders, MESSAGES):
            yield senders
        read = mailbox(self.homeserver, recipient)
        told = [each.told for each in senders]
        assert [numbers_from(each, read) for each in senders] == told
        assert all(notices_from(each, read) for each in senders)

    async def is_met(self, point: str) -> None:
        await eventually(lambda: (point, bool(self.disasters.get())), (point, False))

    async def runs_out_of_memory_at(self, point: str) -> None:
        """Let memory end there, which is counted as a failure."""
        before = await failures(self.homeserver)
        self.disasters.set(raise_at=point)
        await self.is_met(point)
        await until(lambda: failures(self.homeserver), lambda found: found > before)


@async_yield_fixture(scope="module")
async def place(
    new_directory: Callable[[], Path], postgres: PostgresServer
) -> AsyncIterator[Place]:
    stage = Stage(new_directory, postgres.database)
    disasters = Disasters(new_directory() / "disaster.json")
    try:
        homeserver = await stage.start({}, {"modules": [disasters.module()]})
        yield Place(homeserver, disasters)
    finally:
        await stage.end()


@in_reactor
async def test_nothing_is_lost_where_synapse_is_killed(place: Place) -> None:
    async with place.storm():
        for point in DEADLY:
            place.disasters.set(kill_at=point)
            await place.is_met(point)
            await eventually(lambda: place.homeserver.runs, False)
            await place.homeserver.restart()


@in_reactor
async def test_nothing_is_lost_where_memory_ends_at_a_step_of_ours(
    place: Place,
) -> None:
    """And no request has to be sent again."""
    async with place.storm() as senders:
        for point in (each for each in POINTS if each != "storing"):
            await place.runs_out_of_memory_at(point)
    assert not any(each.patience.cut_off for each in senders)


@in_reactor
async def test_nothing_is_lost_while_the_reactor_is_busy_and_the_clock_jumps(
    place: Place,
) -> None:
    """It answers nobody for most of the time; a day ahead, and a day back."""
    async with place.storm():
        busy = place.disasters.times_busy() + 5
        place.disasters.set(busy_s=0.2)
        await eventually(lambda: place.disasters.times_busy() >= busy, True)
        for seconds in (86_400, -86_400):
            place.disasters.set(clock_s=seconds)
            await pause(0.3)
        place.disasters.clear()


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
    place: Place, happens: Callable[[Any], Any]
) -> None:
    async with place.storm():
        with place.homeserver.connected() as cursor:
            await happens(cursor)

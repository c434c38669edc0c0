"""What can go wrong around the module, stock Synapse beside it: no message is lost.

Each test tells how many messages were sent, acknowledged by Synapse, and received:
`make disasters` shows it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, AsyncIterator, Callable, Iterator

import attrs
import psycopg2
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.harness.clients.persistent import (
    Persistent,
    all_at_once,
    notices_from,
    numbers_from,
)
from tests.harness.databases.mailbox import mailbox_of
from tests.harness.homeservers.stage import Stage, everything_tidied, new_name
from tests.harness.metrics.samples import failures
from tests.harness.modules.disasters import POINTS, Disasters
from tests.harness.polling import eventually, pause
from tests.harness.reactor import async_yield_fixture, in_reactor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.databases.postgres import PostgresServer
    from tests.harness.homeservers.homeserver import Homeserver

SENDERS, MESSAGES = 3, 45
LANES = ("stock", "module")
OURS = [point for point in POINTS if point != "storing"]
# Of what happens in memory alone, one of each step is enough.
DEADLY = ("sorting", "answered", "stored", "tidying", "tidied")
LOOK_AGAIN_S = 0.1


@attrs.frozen
class Lane:
    """A homeserver, with the module or without, and what happens to it."""

    name: str
    homeserver: Homeserver
    disasters: Disasters


@attrs.frozen
class Storm:
    """Senders who try again until they are answered, and who it is for."""

    lane: Lane
    senders: list[Persistent]
    finished: Deferred[object]

    @classmethod
    async def begin(cls, lane: Lane) -> Storm:
        """Let it begin, and wait until it is under way."""
        recipient = await lane.homeserver.register(new_name("away"))
        senders = [
            Persistent(await lane.homeserver.register(new_name("storm")), recipient)
            for _ in range(SENDERS)
        ]
        storm = cls(lane, senders, all_at_once(senders, MESSAGES))
        await eventually(lambda: all(each.told for each in senders), True)
        return storm

    async def end(self, what: str) -> None:
        """Wait for its end, with Synapse started again where it was killed."""
        homeserver = self.lane.homeserver
        while not self.finished.called:
            if homeserver.pid is not None and not homeserver.runs:
                await homeserver.restart()
            await pause(LOOK_AGAIN_S)
        self.lane.disasters.clear()
        await self.finished
        recipient = self.senders[0].recipient
        read = mailbox_of(homeserver, recipient.user_id, recipient.device_id)
        received = [numbers_from(each, read) for each in self.senders]
        told = [each.told for each in self.senders]
        tries = sum(each.tries for each in self.senders)
        print(  # noqa: T201 for those who ask for it
            f"{self.lane.name}, {what}: {SENDERS * MESSAGES} messages in {tries} "
            f"requests; {sum(map(len, told))} that are no notices acknowledged, "
            f"{sum(map(len, received))} received"
        )
        assert received == told
        assert all(notices_from(each, read) for each in self.senders)


@pytest.fixture(scope="module", params=LANES)
def name(request: pytest.FixtureRequest) -> str:
    """Run each test on stock Synapse, and on one with the module."""
    found: str = request.param
    return found


@async_yield_fixture(scope="module")
async def lane(name: str, new_directory: Callable[[], Path]) -> AsyncIterator[Lane]:
    """Run a Synapse on SQLite, whose process can be told to die."""
    stage = Stage(new_directory, lambda: None)
    disasters = Disasters(new_directory() / "disaster.json")
    try:
        yield await _lane(name, stage, disasters)
    finally:
        await stage.end()


async def _lane(name: str, stage: Stage, disasters: Disasters) -> Lane:
    module: dict[str, str] | None = {} if name == "module" else None
    homeserver = await stage.start(module, {"modules": [disasters.module()]})
    return Lane(name, homeserver, disasters)


# Stock Synapse has no such steps.
with_module = pytest.mark.parametrize("name", ["module"], indirect=True, scope="module")


@in_reactor
async def test_nothing_is_lost_where_synapse_is_killed_while_it_stores(
    lane: Lane,
) -> None:
    """Rows are written, and the transaction is not committed."""
    storm = await Storm.begin(lane)
    lane.disasters.set(kill_at="storing")
    await storm.end("killed at: storing")
    assert not lane.disasters.get()


@with_module
@pytest.mark.parametrize("point", DEADLY)
@in_reactor
async def test_nothing_is_lost_where_synapse_is_killed_at_a_step_of_ours(
    lane: Lane, point: str
) -> None:
    """Between sorting, confirming, storing, remembering and tidying."""
    pid = lane.homeserver.pid
    storm = await Storm.begin(lane)
    lane.disasters.set(kill_at=point)
    await storm.end(f"killed at: {point}")
    assert lane.homeserver.pid != pid


@with_module
@pytest.mark.parametrize("point", OURS)
@in_reactor
async def test_nothing_is_lost_where_memory_ends_at_a_step_of_ours(
    lane: Lane, point: str
) -> None:
    """No request fails, and it is counted."""
    homeserver = lane.homeserver
    before = await failures(homeserver)
    storm = await Storm.begin(lane)
    lane.disasters.set(raise_at=point)
    await storm.end(f"no memory at: {point}")
    assert sum(each.tries for each in storm.senders) == SENDERS * MESSAGES
    await everything_tidied(homeserver)
    assert await failures(homeserver) > before


@in_reactor
async def test_nothing_is_lost_while_the_reactor_is_busy(lane: Lane) -> None:
    """It answers nobody for most of the time."""
    storm = await Storm.begin(lane)
    lane.disasters.set(busy_s=0.2)
    await storm.end("reactor busy")


@in_reactor
async def test_nothing_is_lost_while_the_clock_jumps(lane: Lane) -> None:
    """A day ahead, and a day back."""
    storm = await Storm.begin(lane)
    for seconds in (86_400, -86_400, 0):
        lane.disasters.set(clock_s=seconds)
        await pause(0.3)
    await storm.end("clock jumps")


@async_yield_fixture(scope="module")
async def on_postgres(
    name: str, new_directory: Callable[[], Path], own_postgres: PostgresServer
) -> AsyncIterator[Lane]:
    """Run a Synapse on that PostgreSQL."""
    stage = Stage(new_directory, own_postgres.database)
    disasters = Disasters(new_directory() / "disaster.json")
    try:
        yield await _lane(name, stage, disasters)
    finally:
        await stage.end()


@contextmanager
def connected(lane: Lane) -> Iterator[psycopg2.extensions.cursor]:
    """Connect to a lane's database, beside Synapse."""
    arguments = lane.homeserver._database["args"]
    own = {key: arguments[key] for key in arguments if not key.startswith("cp_")}
    connection = psycopg2.connect(**own)
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()


@in_reactor
async def test_nothing_is_lost_while_the_database_is_read_only(
    on_postgres: Lane,
) -> None:
    """As a standby is, to which Synapse was led by mistake."""
    storm = await Storm.begin(on_postgres)
    with connected(on_postgres) as cursor:
        name = on_postgres.homeserver._database["args"]["dbname"]
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
    await storm.end("database read-only")


@in_reactor
async def test_nothing_is_lost_while_the_disk_is_full(on_postgres: Lane) -> None:
    """Nothing can be written to the mailboxes, nor deleted there."""
    storm = await Storm.begin(on_postgres)
    with connected(on_postgres) as cursor:
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
    await storm.end("disk full")


@in_reactor
async def test_nothing_is_lost_while_the_database_answers_nobody(
    on_postgres: Lane,
) -> None:
    """For longer than the module's patience."""
    storm = await Storm.begin(on_postgres)
    with connected(on_postgres) as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE device_inbox IN ACCESS EXCLUSIVE MODE")
        await pause(3)
        cursor.execute("ROLLBACK")
    await storm.end("database locked")


@in_reactor
async def test_nothing_is_lost_while_the_database_restarts(
    on_postgres: Lane, own_postgres: PostgresServer
) -> None:
    """All connections break at once."""
    storm = await Storm.begin(on_postgres)
    await deferToThread(own_postgres.restart)
    await storm.end("database restarted")

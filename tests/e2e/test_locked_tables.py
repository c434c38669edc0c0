"""Tables that only our statements name are locked: nobody waits for them.

Stock Synapse's sending and syncing never touches them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable

import attrs
import pytest

from tests.harness.clients.messages import PLAIN, WITHHELD
from tests.harness.homeservers.stage import Stage, Two, nothing_to_do, two_on
from tests.harness.metrics.samples import ACTIVE, DECISIONS, total
from tests.harness.polling import eventually, pause, until
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.together import together

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.databases.postgres import PostgresServer
    from tests.harness.homeservers.homeserver import Homeserver

TABLES = "scheduled_tasks, device_lists_stream, dehydrated_devices"
# Longer than a statement of ours may hang before it is cancelled, in seconds.
LOCKED_S = 6.0
# Far below that, and far above what a loaded machine needs.
AT_ONCE_S = LOCKED_S / 2
AFTERWARDS_S = 0.5
EVERY_S = 0.1
# Of Synapse's threads, so that few that hang would stop it.
THREADS = 4
MOST_OF_OURS = 2


@pytest.fixture(scope="module", params=["enforce", "observe"])
def mode(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@async_yield_fixture(scope="module")
async def on_postgres(
    mode: str, new_directory: Callable[[], Path], postgres: PostgresServer
) -> AsyncIterator[Homeserver]:
    """Run a Synapse with few connections to PostgreSQL."""

    def few_connections() -> dict[str, Any]:
        database = postgres.database()
        return {**database, "args": {**database["args"], "cp_max": THREADS}}

    stage = Stage(new_directory, few_connections)
    try:
        yield await stage.start({"mode": mode})
    finally:
        await stage.end()


@attrs.define
class Loop:
    """Something that is done again and again, and how long it took at most."""

    step: Callable[[int], Awaitable[Any]]
    times: int = 0
    longest_s: float = 0.0

    async def run(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            began_s = time.monotonic()
            await self.step(self.times)
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            self.times += 1
            await pause(EVERY_S)


def sends_duplicates(two: Two) -> Loop:
    async def step(number: int) -> None:
        await two.send(two.notice(number=number))

    return Loop(step)


def sends_others(two: Two) -> Loop:
    """Let somebody send messages that no rule names."""

    async def step(number: int) -> None:
        await two.send({"number": number}, PLAIN)

    return Loop(step)


def syncs(two: Two) -> Loop:
    since: str | None = None

    async def step(_: int) -> None:
        nonlocal since
        since = (await two.sender.sync(since))["next_batch"]

    return Loop(step)


def waiting_threads(homeserver: Homeserver) -> int:
    """Return how many of Synapse's connections wait for a table."""
    ((waiting,),) = homeserver.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND wait_event = 'relation'"
    )
    return int(waiting)


async def delivered(homeserver: Homeserver, reason: str) -> int:
    """Return how many notices were delivered for a reason."""
    metrics = await homeserver.metrics()
    return int(total(metrics, DECISIONS, decision="deliver", reason=reason))


async def active(homeserver: Homeserver) -> float:
    return total(await homeserver.metrics(), ACTIVE)


@in_reactor
async def test_nobody_waits_for_a_table_that_only_we_read(
    on_postgres: Homeserver, mode: str
) -> None:
    """A duplicate waits for a second at most, and is stored; others do not wait."""
    repeating = [await two_on(on_postgres) for _ in range(3)]
    sending = [await two_on(on_postgres) for _ in range(2)]
    for two in repeating:
        await two.send(two.notice())
    await nothing_to_do(on_postgres)
    await until(lambda: active(on_postgres), lambda found: found == 1)
    before = {
        reason: await delivered(on_postgres, reason)
        for reason in ("overdue", "resting")
    }
    duplicates = [sends_duplicates(two) for two in repeating]
    others = [*map(sends_others, sending), *map(syncs, sending)]
    is_over = False
    most_waiting = 0

    async def lock() -> None:
        nonlocal is_over, most_waiting
        with on_postgres.connected() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
            for _ in range(int(LOCKED_S / EVERY_S)):
                await pause(EVERY_S)
                most_waiting = max(most_waiting, waiting_threads(on_postgres))
        await pause(AFTERWARDS_S)
        is_over = True

    loops = [each.run(lambda: is_over) for each in (*duplicates, *others)]
    await together(lock(), *loops)

    assert max(each.longest_s for each in duplicates) < AT_ONCE_S
    assert max(each.longest_s for each in others) < AT_ONCE_S
    assert 0 < most_waiting <= MOST_OF_OURS
    for reason, count in before.items():
        assert await delivered(on_postgres, reason) > count
    for two, each in zip(sending, others):
        assert two.mailbox() == [
            two.queued({"number": number}, PLAIN) for number in range(each.times)
        ]
    for two, each in zip(repeating, duplicates):
        await check_notices(two, each.times, mode)


async def check_notices(two: Two, times: int, mode: str) -> None:
    """Check that one is left in the end, or in `observe` all that were sent."""

    def left() -> int:
        queued = two.mailbox()
        assert {each["type"] for each in queued} == {WITHHELD}
        return len(queued)

    await eventually(left, 1 if mode == "enforce" else times + 1)

"""Tables that only our statements name are locked: nobody waits for them.

Stock Synapse's sending and syncing never touches them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable

import attrs
import pytest

from tests.harness.messages import PLAIN
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import DECISIONS, total
from tests.harness.servers.stage import Stage, Two, nothing_to_do, two_on
from tests.harness.waiting import eventually, pause, together

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.servers.homeserver import Homeserver
    from tests.harness.servers.postgres import PostgresServer

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
    return Loop(lambda number: two.send(two.notice(number=number)))


def sends_others(two: Two) -> Loop:
    return Loop(lambda number: two.send({"number": number}, PLAIN))


def syncs(two: Two) -> Loop:
    since: str | None = None

    async def step(_: int) -> None:
        nonlocal since
        since = (await two.sender.sync(since))["next_batch"]

    return Loop(step)


def rows(two: Two) -> int:
    return len(two.mailbox())


def waiting_threads(homeserver: Homeserver) -> int:
    ((waiting,),) = homeserver.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND wait_event = 'relation'"
    )
    return int(waiting)


async def delivered(homeserver: Homeserver) -> dict[str, float]:
    """Return how many notices were delivered since the database did not answer."""
    metrics = await homeserver.metrics()
    reasons = ("overdue", "resting")
    return {reason: total(metrics, DECISIONS, reason=reason) for reason in reasons}


@async_yield_fixture()
async def few_connections(
    new_directory: Callable[[], Path], postgres: PostgresServer
) -> AsyncIterator[Stage]:
    """Let Synapses have few connections to PostgreSQL."""

    def new_database() -> dict[str, Any]:
        database = postgres.database()
        return {**database, "args": {**database["args"], "cp_max": THREADS}}

    stage = Stage(new_directory, new_database)
    try:
        yield stage
    finally:
        await stage.end()


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@in_reactor
async def test_nobody_waits_for_a_table_that_only_we_read(
    few_connections: Stage, mode: str
) -> None:
    """A duplicate waits for a second at most, and is stored; others do not wait."""
    homeserver = await few_connections.start({"mode": mode})
    repeating = [await two_on(homeserver) for _ in range(3)]
    sending = [await two_on(homeserver) for _ in range(2)]
    for two in repeating:
        await two.send(two.notice())
    await nothing_to_do(homeserver)
    duplicates = [sends_duplicates(two) for two in repeating]
    others = [*map(sends_others, sending), *map(syncs, sending)]
    is_over = False
    most_waiting = 0

    async def lock() -> None:
        nonlocal is_over, most_waiting
        with homeserver.connected() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
            for _ in range(int(LOCKED_S / EVERY_S)):
                await pause(EVERY_S)
                most_waiting = max(most_waiting, waiting_threads(homeserver))
        await pause(AFTERWARDS_S)
        is_over = True

    loops = [*duplicates, *others]
    await together(lock(), *(each.run(lambda: is_over) for each in loops))

    assert max(each.longest_s for each in loops) < AT_ONCE_S
    assert 0 < most_waiting <= MOST_OF_OURS
    assert all((await delivered(homeserver)).values())
    for two, each in zip(sending, others):
        assert two.mailbox() == [
            two.queued({"number": number}, PLAIN) for number in range(each.times)
        ]
    for two, each in zip(repeating, duplicates):
        left = 1 if mode == "enforce" else each.times + 1
        await eventually(partial(rows, two), left)

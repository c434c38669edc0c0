"""Our own statements fail or hang: nothing is lost, and nobody waits for them."""

from __future__ import annotations

import time
from typing import Any, AsyncIterator, Awaitable, Callable

import attrs
import pytest

from tests.e2e.conftest import on_postgres
from tests.harness.messages import PLAIN, WITHHELD, make_key
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import ACTIVE, DECISIONS, FAILURES, failures, total
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.faults import OURS, Faults
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import (
    Stage,
    Two,
    everything_tidied,
    nothing_to_do,
    two_on,
)
from tests.harness.waiting import eventually, pause, together, until

MOST_REST_S = 2.0
PEOPLE, ROUNDS = 3, 4


@attrs.frozen
class Faulty:
    """A Synapse whose module's statements can be made to fail."""

    homeserver: Homeserver
    faults: Faults

    async def noticed(self) -> float:
        """Return how often something failed, or was not waited for any longer."""
        metrics = await self.homeserver.metrics()
        return total(metrics, FAILURES) + total(metrics, DECISIONS, reason="overdue")

    async def heal(self) -> None:
        self.faults.clear()
        await until(self.homeserver.metrics, lambda found: total(found, ACTIVE) == 1)


@async_yield_fixture(scope="module")
async def faulty(stage: Stage) -> AsyncIterator[Faulty]:
    site = stage.site()
    faults = Faults(site.directory / "faults.json")
    config = {"modules": [faults.module(MOST_REST_S)]}
    yield Faulty(await stage.start({}, config, site), faults)


@async_yield_fixture()
async def healthy(faulty: Faulty) -> AsyncIterator[Faulty]:
    """Give a test a Synapse without faults, whatever the test before left."""
    await faulty.heal()
    yield faulty
    faulty.faults.clear()


async def flow(two: Two) -> None:
    """Send notices and other messages in turn; check that nothing is lost."""
    others = []
    for number in range(ROUNDS):
        # Twice the same, then a new key: all that can be decided.
        key = make_key(f"{two.sender_key} {number // 2}")
        newest = await two.send(two.notice(sender_key=key))
        others.append(await two.send({"number": number}, PLAIN))
    queued = two.mailbox()
    assert [each for each in queued if each["type"] == PLAIN] == others
    # Kept, as stock does, or superseded; the newest key is there at any rate.
    assert newest in queued


async def flow_abroad(outward: Outward) -> dict[str, Any]:
    """Send the same to another server, which is away; return the newest notice."""
    for number in range(ROUNDS):
        key = make_key(f"{outward.sender_key} {number // 2}")
        newest = outward.notice(sender_key=key)
        await outward.send(newest)
        await outward.send({"number": number}, kind=PLAIN)
    return newest


@pytest.mark.parametrize(
    ("new_database", "fault", "only"),
    [
        ("postgres", "error", "withheld_delete_superseded"),
        ("postgres", "error", "withheld_read_queued"),
        ("postgres", "error", OURS),
        # SQLite has no connection that anybody else could close.
        ("postgres", "close", OURS),
        ("postgres", "hang", OURS),
        ("sqlite", "hang", OURS),
    ],
    indirect=["new_database"],
)
@in_reactor
async def test_statements_that_fail_or_hang_lose_nothing(
    healthy: Faulty, remote: RemoteServer, fault: str, only: str
) -> None:
    """Notices are delivered meanwhile; afterwards the next of each pair leaves one."""
    homeserver, before = healthy.homeserver, await healthy.noticed()
    people = [await two_on(homeserver) for _ in range(PEOPLE)]
    outward = await outward_from(homeserver, remote)
    healthy.faults.set(fault, only=only, seconds=1.5)
    newest_abroad, *_ = await together(flow_abroad(outward), *map(flow, people))
    await until(healthy.noticed, lambda now: now > before)
    if fault == "error":
        # What fails is tried a few times, and then its mailbox is forgotten.
        await nothing_to_do(homeserver)

    await healthy.heal()
    # What was begun under the faults ends first.
    await everything_tidied(homeserver)
    failed = await failures(homeserver)
    for two in people:
        newest = await two.send(two.notice(sender_key="healed"))

        def notices(two: Two = two) -> list[dict[str, Any]]:
            return [each for each in two.mailbox() if each["type"] == WITHHELD]

        await eventually(notices, [newest])
    await outward.return_of_the_other()
    received = [each["A"] for each in outward.received()]
    others = [each["number"] for each in received if "number" in each]
    assert (others, newest_abroad in received) == ([*range(ROUNDS)], True)
    assert await failures(homeserver) == failed


# Stock Synapse's sending and syncing never touches them.
TABLES = "scheduled_tasks, device_lists_stream, dehydrated_devices"
# Longer than a statement of ours may hang before it is cancelled, in seconds.
LOCKED_S = 6.0
# Far below that, and far above what a loaded machine needs.
AT_ONCE_S = LOCKED_S / 2
EVERY_S = 0.1
# Of Synapse's threads.
MOST_OF_OURS = 2
WAITING_THREADS = """
    SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
    AND wait_event_type = 'Lock' AND wait_event = 'relation'
"""


@on_postgres
@pytest.mark.parametrize("mode", ["enforce", "observe"])
@in_reactor
async def test_nobody_waits_for_a_table_that_only_we_read(
    own_stage: Stage, mode: str
) -> None:
    """A duplicate waits for a second at most, and is stored; others do not wait."""
    homeserver = await own_stage.start({"mode": mode})
    assert f"(mode: {mode}, " in homeserver.log_path.read_text()
    repeating, others = await two_on(homeserver), await two_on(homeserver)
    await repeating.send(repeating.notice())
    await nothing_to_do(homeserver)
    is_over = False

    async def lock() -> int:
        """Lock the tables; return how many threads waited for them at most."""
        nonlocal is_over
        most_waiting = 0
        with homeserver.connected() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
            for _ in range(int(LOCKED_S / EVERY_S)):
                await pause(EVERY_S)
                ((waiting,),) = homeserver.query(WAITING_THREADS)
                most_waiting = max(most_waiting, waiting)
        await pause(0.5)
        is_over = True
        return most_waiting

    async def again(do: Callable[[int], Awaitable[Any]]) -> tuple[int, float]:
        """Do something until it is over; return how often, and the longest time."""
        times, longest_s = 0, 0.0
        while not is_over:
            began_s = time.monotonic()
            await do(times)
            longest_s = max(longest_s, time.monotonic() - began_s)
            times += 1
            await pause(EVERY_S)
        return times, longest_s

    most_waiting, *done = await together(
        lock(),
        again(lambda number: repeating.send(repeating.notice(number=number))),
        again(lambda number: others.send({"number": number}, PLAIN)),
        again(lambda _: others.sender.drain()),
    )
    assert max(longest_s for _, longest_s in done) < AT_ONCE_S
    assert 0 < most_waiting <= MOST_OF_OURS
    metrics = await homeserver.metrics()
    for reason in ("overdue", "resting"):
        assert total(metrics, DECISIONS, reason=reason) > 0
    (repeated, _), (sent, _), _ = done
    queued = [others.queued({"number": number}, PLAIN) for number in range(sent)]
    assert others.mailbox() == queued
    left = 1 if mode == "enforce" else repeated + 1
    await eventually(lambda: len(repeating.mailbox()), left)

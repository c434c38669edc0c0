"""What can go wrong around the module: no message is lost that Synapse acknowledged."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator

import attrs
import pytest
from pytest_twisted import async_fixture

from tests.e2e.conftest import on_postgres
from tests.harness.messages import PLAIN, make_key, make_notice
from tests.harness.samples import ACTIVE, DECISIONS, FAILURES, total
from tests.harness.senders import Persistent, notices_from, numbers_from, storm
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.modules import DEADLY, OURS, Faults
from tests.harness.servers.stage import Stage, everything_tidied, new_name, send, two_on
from tests.harness.waiting import eventually, pause, together, until


@attrs.frozen
class Place:
    """A homeserver, and what happens to it and to the module's own statements."""

    homeserver: Homeserver
    faults: Faults

    @asynccontextmanager
    async def storm(self) -> AsyncIterator[list[Persistent]]:
        """Let senders try again until they are answered: nothing is lost."""
        self.faults.clear()  # what a failed test has left
        recipient = await self.homeserver.register(new_name("away"))
        senders = [
            Persistent(await self.homeserver.register(new_name("storm")), recipient)
            for _ in range(3)
        ]
        async with storm(senders, at_least=45):
            yield senders
        read = self.homeserver.mailbox(recipient)
        told = [each.told for each in senders]
        assert [numbers_from(each, read) for each in senders] == told
        assert all(notices_from(each, read) for each in senders)


@async_fixture(scope="module")
async def place(stage: Stage) -> Place:
    site = stage.site()
    faults = Faults(site.directory / "faults.json")
    homeserver = await stage.start({}, {"modules": [faults.module()]}, site)
    return Place(homeserver, faults)


@on_postgres
async def test_nothing_is_lost_where_synapse_is_killed(place: Place) -> None:
    async with place.storm():
        for point in DEADLY:
            place.faults.write(kill_at=point)
            await eventually(lambda: place.homeserver.process.runs, False)
            await place.homeserver.restart()


@on_postgres
async def test_nothing_is_lost_where_the_clock_jumps(place: Place) -> None:
    """It answers nobody for longer than the module's patience; a day ahead and back."""
    async with place.storm():
        place.faults.write(busy_s=1.5)
        await eventually(place.faults.path.exists, False)
        for seconds in (86_400, -86_400):
            place.faults.write(clock_s=seconds)
            await pause(0.3)
        place.faults.clear()


FULL = """
    CREATE FUNCTION disk_full() RETURNS trigger AS $$
    BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'full'; END
    $$ LANGUAGE plpgsql;
    CREATE TRIGGER full_now BEFORE INSERT OR DELETE ON device_inbox
    FOR EACH STATEMENT EXECUTE FUNCTION disk_full()
"""
LOCKED = "BEGIN; LOCK TABLE device_inbox IN ACCESS EXCLUSIVE MODE"


@on_postgres
@pytest.mark.parametrize(
    ("begin", "end"),
    [(FULL, "DROP TRIGGER full_now ON device_inbox"), (LOCKED, "ROLLBACK")],
    ids=["full", "locked"],
)
async def test_nothing_is_lost_without_a_database(
    place: Place, begin: str, end: str
) -> None:
    async with place.storm():
        with place.homeserver.connected() as cursor:
            cursor.execute(begin)
            await pause(3)  # longer than the module's patience
            cursor.execute(end)


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
async def test_failing_statements_lose_nothing(
    place: Place, fault: str, only: str
) -> None:
    """No request fails; afterwards the next notice of each pair leaves one."""
    homeserver = place.homeserver

    async def noticed() -> float:
        metrics = await homeserver.metrics()
        return total(metrics, FAILURES) + total(metrics, DECISIONS, reason="overdue")

    async with place.storm() as senders:
        before = await noticed()
        place.faults.write(statement=fault, only=only)
        await until(noticed, lambda now: now > before)
        await pause(1)
    assert not any(each.patience.cut_off for each in senders)
    if fault == "error":
        # What fails is tried a few times, and then its mailbox is forgotten.
        await homeserver.nothing_to_do()
    place.faults.clear()
    await until(homeserver.metrics, lambda found: total(found, ACTIVE) == 1)
    # What was begun under the faults ends first.
    await everything_tidied(homeserver)
    failed = await homeserver.failures()
    for each in senders:
        notice = make_notice(make_key(each.client.user_id), each.client.device_id)
        await send(each.client, each.recipient, notice)

    def left() -> list[int]:
        read = homeserver.mailbox(senders[0].recipient)
        return [notices_from(each, read) for each in senders]

    await eventually(left, [1] * len(senders))
    assert await homeserver.failures() == failed


# Stock Synapse's sending and syncing never touches them.
TABLES = "scheduled_tasks, device_lists_stream, dehydrated_devices"
LOCKED_S = 6.0  # longer than a statement of ours may hang before it is cancelled
WAITING_THREADS = """
    SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
    AND wait_event_type = 'Lock' AND wait_event = 'relation'
"""


@on_postgres
@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_nobody_waits_for_what_only_we_read(own_stage: Stage, mode: str) -> None:
    """A duplicate waits for a second at most, and is stored; others do not wait."""
    homeserver = await own_stage.start({"mode": mode})
    assert f"(mode: {mode}, " in homeserver.log_path.read_text()
    repeating, others = await two_on(homeserver), await two_on(homeserver)
    repeated, queued = [await repeating.send(repeating.notice())], list[Any]()
    await homeserver.nothing_to_do()
    longest_s, most_waiting = 0.0, 0
    with homeserver.connected() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
        ends = time.monotonic() + LOCKED_S
        while (began := time.monotonic()) < ends:
            number = len(queued)
            again, other, _ = await together(
                repeating.send(repeating.notice(number=number)),
                others.send({"number": number}, PLAIN),
                others.sender.drain(),
            )
            longest_s = max(longest_s, time.monotonic() - began)
            repeated.append(again)
            queued.append(other)
            ((waiting,),) = homeserver.query(WAITING_THREADS)
            most_waiting = max(most_waiting, waiting)
            await pause(0.1)
    # Far above what a loaded machine needs; of Synapse's threads two may be ours.
    assert longest_s < LOCKED_S / 2
    assert 0 < most_waiting <= 2
    metrics = await homeserver.metrics()
    for reason in ("overdue", "resting"):
        assert total(metrics, DECISIONS, reason=reason) > 0
    assert others.mailbox() == queued
    left = repeated[-1:] if mode == "enforce" else repeated
    await eventually(repeating.mailbox, left)

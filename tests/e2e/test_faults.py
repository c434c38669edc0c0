"""Our own statements fail while messages flow: nothing is lost, all answers are 200."""

from __future__ import annotations

from typing import Any, AsyncIterator

import attrs
import pytest

from synapse_withheld.delivery.shares import MOST_TRIES
from tests.e2e.conftest import on_both_databases, on_postgres
from tests.harness.messages import PLAIN, WITHHELD, make_key
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import ACTIVE, DECISIONS, failures, total
from tests.harness.senders import outward_from
from tests.harness.servers.faults import OURS, Faults
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Stage, Two, everything_tidied, two_on
from tests.harness.waiting import eventually, together, until

MOST_REST_S = 2.0


@attrs.frozen
class Faulty:
    """A Synapse whose module's statements can be made to fail."""

    homeserver: Homeserver
    faults: Faults

    async def active(self) -> float:
        return total(await self.homeserver.metrics(), ACTIVE)

    async def failures(self) -> int:
        return await failures(self.homeserver)

    async def heal(self) -> None:
        self.faults.clear()
        await until(self.active, lambda active: active == 1)

    async def delivered(self, reason: str) -> float:
        return total(await self.homeserver.metrics(), DECISIONS, reason=reason)


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


async def flow(two: Two, rounds: int) -> None:
    """Send notices and other messages in turn; check that nothing is lost."""
    others = []
    for number in range(rounds):
        # Twice the same, then a new key: all that can be decided.
        key = make_key(f"{two.sender_key} {number // 2}")
        newest = await two.send(two.notice(sender_key=key))
        others.append(await two.send({"number": number}, PLAIN))
    queued = two.mailbox()
    assert [each for each in queued if each["type"] == PLAIN] == others
    # Kept, as stock does, or superseded; the newest key is there at any rate.
    assert newest in queued


async def check_flow(faulty: Faulty, pairs: int, rounds: int) -> list[Two]:
    people = [await two_on(faulty.homeserver) for _ in range(pairs)]
    await together(*(flow(two, rounds) for two in people))
    return people


async def check_heals(faulty: Faulty, people: list[Two]) -> None:
    """With the faults gone, the next notice leaves one, without another failure."""
    await faulty.heal()
    # What was begun under the faults ends first.
    await everything_tidied(faulty.homeserver)
    failed = await faulty.failures()
    for two in people:
        newest = await two.send(two.notice(sender_key="healed"))

        def notices(two: Two = two) -> list[dict[str, Any]]:
            return [each for each in two.mailbox() if each["type"] == WITHHELD]

        await eventually(notices, [newest])
    assert await faulty.failures() == failed


# What fails how, how often that is counted at least, of how many people and rounds.
FAILING = {
    # Each deletion is tried a few times, and then its mailbox is forgotten.
    "deletions": ("error", "withheld_delete_superseded", MOST_TRIES, 2, 4),
    "everything": ("error", OURS, 1, 6, 6),
    "confirmations": ("error", "withheld_read_queued", 1, 6, 6),
    # SQLite has no connection that anybody else could close.
    "connections": ("close", OURS, 1, 4, 6),
}


@on_postgres
@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
@in_reactor
async def test_failing_statements_lose_nothing(
    healthy: Faulty, failing: tuple[str, str, int, int, int]
) -> None:
    """Without an answer of the database notices are delivered, and it is left alone."""
    fault, only, counted, pairs, rounds = failing
    failed = await healthy.failures()
    healthy.faults.set(fault, only=only)
    people = await check_flow(healthy, pairs, rounds)
    await until(healthy.failures, lambda now: now >= failed + counted)
    await check_heals(healthy, people)


@on_both_databases
@in_reactor
async def test_hanging_statements_lose_nothing(healthy: Faulty) -> None:
    """A message waits for our statement only so long."""
    overdue = await healthy.delivered("overdue")
    healthy.faults.set("hang", seconds=2.5)
    people = await check_flow(healthy, pairs=1, rounds=3)
    assert await healthy.delivered("overdue") > overdue
    await check_heals(healthy, people)


@on_postgres
@in_reactor
async def test_failing_statements_about_the_outbox_lose_nothing(
    healthy: Faulty, remote: RemoteServer
) -> None:
    """All is sent in order when the other server is back, the newest key included."""
    outward = await outward_from(healthy.homeserver, remote)
    failed = await healthy.failures()
    healthy.faults.set("error")
    others = [{"number": number} for number in range(6)]
    for other in others:
        key = make_key(f"{outward.sender_key} {other['number'] // 2}")
        await outward.send(outward.notice(sender_key=key))
        await outward.send(other, kind=PLAIN)
    await until(healthy.failures, lambda now: now > failed)
    await healthy.heal()

    await outward.return_of_the_other()

    received = [each["A"] for each in outward.received()]
    assert [each for each in received if "number" in each] == others
    newest = outward.notice(sender_key=make_key(f"{outward.sender_key} 2"))
    assert newest in received

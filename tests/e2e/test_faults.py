"""Our own statements fail while messages flow: nothing is lost, all answers are 200."""

from __future__ import annotations

from typing import Any, AsyncIterator

import attrs
import pytest
from twisted.internet.defer import Deferred, gatherResults

from synapse_withheld.delivery.shares import MOST_TRIES
from tests.e2e.conftest import on_both_databases, on_postgres
from tests.harness.clients.messages import PLAIN, WITHHELD, make_key
from tests.harness.clients.outward import outward_from
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import Stage, Two, everything_tidied, two_on
from tests.harness.metrics.samples import ACTIVE, DECISIONS, failures, total
from tests.harness.modules.faults import OURS, Faults
from tests.harness.polling import eventually, until
from tests.harness.reactor import async_yield_fixture, in_reactor

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

    async def delivered(self, reason: str) -> float:
        """Return how many notices were delivered for a reason."""
        return total(await self.homeserver.metrics(), DECISIONS, reason=reason)


@async_yield_fixture(scope="module")
async def faulty(stage: Stage) -> AsyncIterator[Faulty]:
    """Run a Synapse with the module and the faults."""
    site = stage.site()
    faults = Faults(site.directory / "faults.json")
    config = {"modules": [faults.module(MOST_REST_S)]}
    yield Faulty(await stage.start({}, config, site), faults)


@async_yield_fixture()
async def healthy(faulty: Faulty) -> AsyncIterator[Faulty]:
    """Give a test a Synapse without faults, whatever the test before left."""
    faulty.faults.clear()
    await until(faulty.active, lambda active: active == 1)
    yield faulty
    faulty.faults.clear()


async def flow(two: Two, rounds: int) -> list[dict[str, Any]]:
    """Send notices and other messages in turn; return the others as stock has them."""
    others = []
    for number in range(rounds):
        # Twice the same, then a new key: all that can be decided.
        key = make_key(f"{two.sender_key} {number // 2}")
        await two.send(two.notice(sender_key=key))
        await two.send({"number": number}, PLAIN)
        others.append(two.queued({"number": number}, PLAIN))
    return others


async def check_flow(faulty: Faulty, pairs: int, rounds: int) -> list[Two]:
    """Send between some people at once; check that nothing is lost.

    Returns:
        Those people.
    """
    people = [await two_on(faulty.homeserver) for _ in range(pairs)]
    sent = await gatherResults(
        [Deferred.fromCoroutine(flow(two, rounds)) for two in people]
    )
    for two, others in zip(people, sent):
        queued = two.mailbox()
        assert [each for each in queued if each["type"] == PLAIN] == others
        notices = [each for each in queued if each["type"] == WITHHELD]
        newest = two.notice(
            sender_key=make_key(f"{two.sender_key} {(rounds - 1) // 2}")
        )
        # Kept, as stock does, or superseded; the newest key is there at any rate.
        assert two.queued(newest) in notices
    return people


async def check_heals(faulty: Faulty, people: list[Two]) -> None:
    """With the faults gone, the next notice leaves one, without another failure."""
    faulty.faults.clear()
    await until(faulty.active, lambda active: active == 1)
    # What was begun under the faults ends first.
    await everything_tidied(faulty.homeserver)
    failed = await failures(faulty.homeserver)
    for two in people:
        newest = two.notice(sender_key=make_key("healed"))
        await two.send(newest)

        def notices(two: Two = two) -> list[dict[str, Any]]:
            queued = two.mailbox()
            return [each for each in queued if each["type"] == WITHHELD]

        await eventually(notices, [two.queued(newest)])
    assert await failures(faulty.homeserver) == failed


@on_postgres
@in_reactor
async def test_failing_deletions_lose_nothing(healthy: Faulty) -> None:
    """What could not be deleted stays, until a later notice finds it.

    Each is tried a few times, and then its mailbox is forgotten.
    """
    failed = await failures(healthy.homeserver)
    healthy.faults.set("error", only="withheld_delete_superseded")
    people = await check_flow(healthy, pairs=2, rounds=4)
    await until(healthy.failures, lambda now: now >= failed + MOST_TRIES)
    assert await healthy.active() == 1
    await check_heals(healthy, people)


@on_both_databases
@pytest.mark.parametrize(
    "only", [OURS, "withheld_read_mailboxes", "withheld_read_queued"]
)
@in_reactor
async def test_failing_reads_store_everything(healthy: Faulty, only: str) -> None:
    """Without an answer of the database notices are delivered, and it is left alone."""
    failed = await failures(healthy.homeserver)
    healthy.faults.set("error", only=only)
    people = await check_flow(healthy, pairs=6, rounds=6)
    assert await failures(healthy.homeserver) > failed
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
@pytest.mark.parametrize(
    "only",
    [
        OURS,
        "withheld_read_outboxes",
        "withheld_read_queued_edus",
        "withheld_delete_superseded_edus",
    ],
)
@in_reactor
async def test_failing_statements_about_the_outbox_lose_nothing(
    healthy: Faulty, remote: RemoteServer, only: str
) -> None:
    """All is sent in order when the other server is back, the newest key included."""
    outward = await outward_from(healthy.homeserver, remote)
    failed = await failures(healthy.homeserver)
    healthy.faults.set("error", only=only)
    others = [{"number": number} for number in range(6)]
    for other in others:
        key = make_key(f"{outward.sender_key} {other['number'] // 2}")
        await outward.send(outward.notice(sender_key=key))
        await outward.send(other, kind=PLAIN)
    await until(healthy.failures, lambda now: now > failed)
    healthy.faults.clear()
    await until(healthy.active, lambda active: active == 1)

    await outward.return_of_the_other()

    received = [each["A"] for each in outward.received()]
    assert [each for each in received if "number" in each] == others
    newest = outward.notice(sender_key=make_key(f"{outward.sender_key} 2"))
    assert newest in received


# SQLite has no connection that anybody else could close.
@on_postgres
@in_reactor
async def test_closed_connections_lose_nothing(healthy: Faulty) -> None:
    """A connection closed under our statement is no failure of Synapse's."""
    failed = await failures(healthy.homeserver)
    healthy.faults.set("close")
    people = await check_flow(healthy, pairs=4, rounds=6)
    assert await failures(healthy.homeserver) > failed
    await check_heals(healthy, people)


@on_postgres
@in_reactor
async def test_rest_after_a_failure_ends(healthy: Faulty) -> None:
    """Everything is stored for a while, and remembered: then duplicates collapse."""
    two = await two_on(healthy.homeserver)
    resting = await healthy.delivered("resting")
    await two.send(two.notice(reason="first"))
    healthy.faults.set("error", only="withheld_read_queued")
    for number in range(20):
        await two.send(two.notice(reason=f"copy {number}"))
        if await healthy.delivered("resting") > resting:
            break
    assert await healthy.delivered("resting") > resting
    newest = [two.queued(two.notice(reason=f"copy {number}"))]
    healthy.faults.clear()
    await until(healthy.active, lambda active: active == 1)
    await eventually(two.mailbox, newest)
    await two.send(two.notice(reason="collapses"))
    assert two.mailbox() == newest

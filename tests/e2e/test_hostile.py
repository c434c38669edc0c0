"""Hostile senders: honest ones get their share, and no request costs without end.

Counts of statements and lengths of queues tell what a request costs: those do not
depend on the machine.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Awaitable, Callable

import attrs

from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import WITHHELD, make_key, make_notice
from tests.harness.databases.mailbox import stream_ids
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import (
    Stage,
    everything_tidied,
    new_name,
    nothing_to_do,
)
from tests.harness.metrics.samples import DECISIONS, HOUSEKEEPING, failures, total
from tests.harness.polling import eventually, pause
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.together import together

# How many notices an honest sender repeats, and how many of them collapse at least.
REPEATED, COLLAPSE = 12, 8
# What one request may have learned at most, and all of one sender.
MOST_OF_ONE = 250
STATEMENTS = "synapse_storage_transaction_time_count_total"


@async_fixture(scope="module")
async def hostile(stage: Stage) -> Homeserver:
    """Run a Synapse that is treated badly."""
    return await stage.start({})


async def with_devices(homeserver: Homeserver, number: int) -> Client:
    """Register a user who has many devices, as if all had logged in."""
    client = await homeserver.register(new_name("victim"), device_id="D0")
    values = ", ".join(["(?, ?)"] * (number - 1))
    homeserver.query(
        f"INSERT INTO devices (user_id, device_id) VALUES {values}",  # noqa: S608
        [name for each in range(1, number) for name in (client.user_id, f"D{each}")],
    )
    return client


def notice_of(client: Client, **more: Any) -> dict[str, Any]:
    """Return a notice of a client's device."""
    return make_notice(make_key(client.user_id), client.device_id, **more)


@attrs.define
class Flood:
    """Somebody who does something as often as possible."""

    step: Callable[[int], Awaitable[Any]]
    is_over: bool = False
    times: int = 0

    async def run(self) -> None:
        """Go on until it is over."""
        while not self.is_over:
            await self.step(self.times)
            self.times += 1


def local_flood(sender: Client, victim: Client, devices: int) -> Flood:
    """Send notices for invented devices, and repeat them for those that exist."""
    invented = count()
    notice = notice_of(sender)

    async def step(number: int) -> None:
        names = (
            [f"D{each}" for each in range(devices)]
            if number % 2
            else [f"invented {next(invented)}" for _ in range(250)]
        )
        contents = {victim.user_id: dict.fromkeys(names, notice)}
        assert await sender.send_to_device(WITHHELD, contents) == 200

    return Flood(step)


def remote_flood(
    homeserver: Homeserver, remote: RemoteServer, victim: Client, devices: int
) -> Flood:
    """Let a server make up users, each of whom sends to a few devices."""
    users = count()

    async def step(_: int) -> None:
        contents = []
        for _ in range(50):
            user = next(users)
            notice = make_notice(make_key(f"remote {user}"), "REMOTE")
            names = [f"D{user % devices}", f"invented {user}", f"and {user}"]
            contents.append(
                {
                    "sender": remote.user(f"invented{user}"),
                    "type": WITHHELD,
                    "message_id": f"flood {user}",
                    "messages": {victim.user_id: dict.fromkeys(names, notice)},
                }
            )
        status, _ = await remote.send_edus(homeserver, contents)
        assert status == 200

    return Flood(step)


def rows_of(homeserver: Homeserver, recipients: list[Client]) -> list[int]:
    """Return how many rows the mailboxes of some have."""
    return [len(stream_ids(homeserver, recipient)) for recipient in recipients]


@in_reactor
async def test_hostile_senders_take_nothing_from_an_honest_one(
    hostile: Homeserver, remote: RemoteServer
) -> None:
    """Its mailboxes are learned and its duplicates collapse, however others flood."""
    honest = await hostile.register(new_name("honest"), device_id="HONEST")
    away = [await hostile.register(new_name("away")) for _ in range(5)]

    async def send(recipient: Client, number: int) -> None:
        notice = notice_of(honest, number=number)
        contents = {recipient.user_id: {recipient.device_id: notice}}
        assert await honest.send_to_device(WITHHELD, contents) == 200

    for recipient in away:
        await send(recipient, 0)
    # What was queued before the start has to be learned.
    await hostile.restart()
    devices = 100
    victim = await with_devices(hostile, devices)
    attacker = await hostile.register(new_name("attacker"))
    floods = [
        *(local_flood(attacker, victim, devices) for _ in range(2)),
        remote_flood(hostile, remote, victim, devices),
    ]
    collapsed = 0

    async def be_honest() -> None:
        nonlocal collapsed
        try:
            await eventually(lambda: all(flood.times for flood in floods), True)
            for recipient in away:
                await send(recipient, 1)
            await eventually(lambda: rows_of(hostile, away), [1] * len(away))
            for number in range(REPEATED):
                recipient = away[number % len(away)]
                before = stream_ids(hostile, recipient)
                await send(recipient, number + 2)
                collapsed += stream_ids(hostile, recipient) == before
                await pause()
        finally:
            for flood in floods:
                flood.is_over = True

    await together(be_honest(), *(flood.run() for flood in floods))
    assert collapsed >= COLLAPSE
    await everything_tidied(hostile)
    assert rows_of(hostile, away) == [1] * len(away)
    assert await failures(hostile) == 0


@attrs.define
class Cost:
    """What a request costs until nothing is left to do."""

    homeserver: Homeserver
    queued: int = 0
    statements: dict[str, int] = attrs.field(factory=dict)

    async def of(self, sender: Client, contents: dict[str, Any]) -> Cost:
        """Make a request, and look on until all of its work is done."""
        before = await statements(self.homeserver)
        assert await sender.send_to_device(WITHHELD, contents) == 200
        while await self._look():
            await pause()
        await nothing_to_do(self.homeserver)
        after = await statements(self.homeserver)
        self.statements = {
            name: after[name] - before.get(name, 0)
            for name in after
            if after[name] != before.get(name, 0)
        }
        return self

    async def _look(self) -> bool:
        queued = int(total(await self.homeserver.metrics(), HOUSEKEEPING))
        self.queued = max(self.queued, queued)
        return bool(queued)


async def statements(homeserver: Homeserver) -> dict[str, int]:
    """Return how many statements of ours there were, by their names."""
    return {
        series.partition('desc="')[2].partition('"')[0]: int(value)
        for series, value in (await homeserver.metrics()).items()
        if series.startswith(STATEMENTS) and 'desc="withheld_' in series
    }


@in_reactor
async def test_invented_users_are_not_looked_up(hostile: Homeserver) -> None:
    """Synapse found that they have no devices."""
    sender = await hostile.register(new_name("inventor"))

    cost = await Cost(hostile).of(sender, invented_users(sender, MOST_OF_ONE))

    assert (0, {}) == (cost.queued, cost.statements)


@in_reactor
async def test_invented_devices_are_not_looked_up(hostile: Homeserver) -> None:
    """They take no room: Synapse found that they do not exist."""
    sender = await hostile.register(new_name("inventor"))
    devices = invented_devices(sender, await hostile.register(new_name("victim")))
    before = await remembered(hostile)

    cost = await Cost(hostile).of(sender, devices(MOST_OF_ONE))

    assert (0, {}) == (cost.queued, cost.statements)
    assert await remembered(hostile) == before


@in_reactor
async def test_nobody_looks_into_a_request_with_thousands_of_messages(
    hostile: Homeserver,
) -> None:
    """No client sends so many: they are stored, and that is all."""
    sender = await hostile.register(new_name("inventor"))
    victim = await hostile.register(new_name("victim"))
    before = total(await hostile.metrics(), DECISIONS, reason="limit")
    requests = [invented_users(sender, 5000), invented_devices(sender, victim)(5000)]

    costs = [await Cost(hostile).of(sender, request) for request in requests]

    assert [(cost.queued, cost.statements) for cost in costs] == [(0, {})] * 2
    assert total(await hostile.metrics(), DECISIONS, reason="limit") > before


def invented_users(sender: Client, number: int) -> dict[str, Any]:
    """Return notices for all devices of users who do not exist."""
    notice = notice_of(sender)
    return {f"@invented{each}:withheld.test": {"*": notice} for each in range(number)}


def invented_devices(sender: Client, victim: Client) -> Callable[[int], dict[str, Any]]:
    """Return what makes notices for devices that do not exist."""
    names = [f"invented {each}" for each in range(5000)]
    notice = notice_of(sender)
    return lambda number: {victim.user_id: dict.fromkeys(names[:number], notice)}


@in_reactor
async def test_duplicates_for_many_devices_are_confirmed_by_few_statements(
    hostile: Homeserver,
) -> None:
    """Each statement is about many rows, and nothing is left to do."""
    devices = 250
    sender = await hostile.register(new_name("repeater"))
    victim = await with_devices(hostile, devices)
    contents = {
        victim.user_id: {f"D{each}": notice_of(sender) for each in range(devices)}
    }
    await Cost(hostile).of(sender, contents)

    cost = await Cost(hostile).of(sender, contents)

    assert cost.queued == 0
    assert set(cost.statements) == {"withheld_read_queued"}
    assert cost.statements["withheld_read_queued"] <= devices / 100


@in_reactor
async def test_one_huge_notice_for_many_devices_is_stored_and_tidied(
    hostile: Homeserver,
) -> None:
    """At most two stay for each: one so long is not read back from the database."""
    devices = 200
    sender = await hostile.register(new_name("writer"))
    victim = await with_devices(hostile, devices)
    huge = notice_of(sender, reason="x" * 50_000)
    costs = [
        await Cost(hostile).of(sender, {victim.user_id: {"*": {**huge, "n": number}}})
        for number in range(3)
    ]

    for cost in costs:
        assert cost.queued <= 2 * devices
        assert sum(cost.statements.values()) <= devices
    await everything_tidied(hostile)
    ((rows,),) = hostile.query(
        "SELECT COUNT(*) FROM device_inbox WHERE user_id = ?", (victim.user_id,)
    )
    assert devices <= rows <= 2 * devices
    assert await failures(hostile) == 0


async def remembered(homeserver: Homeserver) -> int:
    """Return how many mailboxes are remembered."""
    metrics = await homeserver.metrics()
    return int(total(metrics, "synapse_withheld_tracked_mailboxes"))

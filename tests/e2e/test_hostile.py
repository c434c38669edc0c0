"""Hostile senders: honest ones get their share, and no request costs without end.

Counts of statements and lengths of queues tell what a request costs: those do not
depend on the machine.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Awaitable, Callable

from tests.harness.client import Client
from tests.harness.messages import WITHHELD, make_key, make_notice
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import DECISIONS, failures, total
from tests.harness.servers.homeserver import Homeserver, stream_ids
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import (
    Stage,
    everything_tidied,
    new_name,
    nothing_to_do,
    send,
    to_do,
)
from tests.harness.waiting import eventually, pause, together

# How many notices an honest sender repeats, and how many of them collapse at least.
REPEATED, COLLAPSE = 12, 8
# Of how many messages a request is looked at.
MOST_OF_ONE = 250
STATEMENTS = "synapse_storage_transaction_time_count_total"


@async_fixture(scope="module")
async def hostile(stage: Stage) -> Homeserver:
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
    return make_notice(make_key(client.user_id), client.device_id, **more)


Flood = Callable[[int], Awaitable[Any]]


def local_flood(sender: Client, victim: Client, devices: int) -> Flood:
    """Send notices for invented devices, and repeat them for those that exist."""
    invented = count()

    async def step(number: int) -> None:
        names = (
            [f"D{each}" for each in range(devices)]
            if number % 2
            else [f"invented {next(invented)}" for _ in range(250)]
        )
        contents = {victim.user_id: dict.fromkeys(names, notice_of(sender))}
        assert await sender.send_to_device(WITHHELD, contents) == 200

    return step


def remote_flood(
    homeserver: Homeserver, remote: RemoteServer, victim: Client, devices: int
) -> Flood:
    """Let a server make up users, each of whom sends to a few devices."""
    users = count()

    def content(user: int) -> dict[str, Any]:
        notice = make_notice(make_key(f"remote {user}"), "REMOTE")
        names = [f"D{user % devices}", f"invented {user}", f"and {user}"]
        return {
            "sender": remote.user(f"invented{user}"),
            "type": WITHHELD,
            "message_id": f"flood {user}",
            "messages": {victim.user_id: dict.fromkeys(names, notice)},
        }

    async def step(_: int) -> None:
        contents = [content(next(users)) for _ in range(50)]
        assert (await remote.send_edus(homeserver, contents))[0] == 200

    return step


@in_reactor
async def test_hostile_senders_take_nothing_from_an_honest_one(
    hostile: Homeserver, remote: RemoteServer
) -> None:
    """Its mailboxes are learned and its duplicates collapse, however others flood."""
    honest = await hostile.register(new_name("honest"), device_id="HONEST")
    away = [await hostile.register(new_name("away")) for _ in range(5)]
    for recipient in away:
        await send(honest, recipient, notice_of(honest, number=0))
    # What was queued before the start has to be learned.
    await hostile.restart()
    devices = 100
    victim = await with_devices(hostile, devices)
    attacker = await hostile.register(new_name("attacker"))
    floods = [
        *(local_flood(attacker, victim, devices) for _ in range(2)),
        remote_flood(hostile, remote, victim, devices),
    ]
    times = [0] * len(floods)
    collapsed, is_over = 0, False

    def rows() -> list[int]:
        return [len(stream_ids(hostile, recipient)) for recipient in away]

    async def flood(place: int) -> None:
        while not is_over:
            await floods[place](times[place])
            times[place] += 1

    async def be_honest() -> None:
        nonlocal collapsed, is_over
        try:
            await eventually(lambda: all(times), True)
            for recipient in away:
                await send(honest, recipient, notice_of(honest, number=1))
            await eventually(rows, [1] * len(away))
            for number in range(REPEATED):
                recipient = away[number % len(away)]
                before = stream_ids(hostile, recipient)
                await send(honest, recipient, notice_of(honest, number=number + 2))
                collapsed += stream_ids(hostile, recipient) == before
                await pause()
        finally:
            is_over = True

    await together(be_honest(), *map(flood, range(len(floods))))
    assert collapsed >= COLLAPSE
    await everything_tidied(hostile)
    assert rows() == [1] * len(away)
    assert await failures(hostile) == 0


async def cost(
    homeserver: Homeserver, sender: Client, contents: dict[str, Any]
) -> tuple[int, dict[str, int]]:
    """Make a request; return how much it queued at most, and its statements."""
    before = await statements(homeserver)
    assert await sender.send_to_device(WITHHELD, contents) == 200
    most = queued = await to_do(homeserver)
    while queued:
        await pause()
        queued = await to_do(homeserver)
        most = max(most, queued)
    await nothing_to_do(homeserver)
    after = await statements(homeserver)
    made = {name: after[name] - before.get(name, 0) for name in after}
    return most, {name: number for name, number in made.items() if number}


async def statements(homeserver: Homeserver) -> dict[str, int]:
    return {
        series.partition('desc="')[2].partition('"')[0]: int(value)
        for series, value in (await homeserver.metrics()).items()
        if series.startswith(STATEMENTS) and 'desc="withheld_' in series
    }


def inventions(
    sender: Client, victim: Client, number: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return requests to users and to devices, none of which exists."""
    everybody = {"*": notice_of(sender)}
    users = {f"@invented{each}:withheld.test": everybody for each in range(number)}
    names = [f"invented {each}" for each in range(number)]
    return users, {victim.user_id: dict.fromkeys(names, notice_of(sender))}


@in_reactor
async def test_nobody_looks_up_what_synapse_found_not_to_exist(
    hostile: Homeserver,
) -> None:
    """Nor into a request with thousands of messages: no client sends so many."""
    sender = await hostile.register(new_name("inventor"))
    victim = await hostile.register(new_name("victim"))
    for number in (MOST_OF_ONE, 5000):
        before = total(await hostile.metrics(), DECISIONS, reason="limit")
        for request in inventions(sender, victim, number):
            assert await cost(hostile, sender, request) == (0, {})
        after = total(await hostile.metrics(), DECISIONS, reason="limit")
        assert (after > before) is (number > MOST_OF_ONE)


@in_reactor
async def test_duplicates_for_many_devices_are_confirmed_by_few_statements(
    hostile: Homeserver,
) -> None:
    """Each statement is about many rows, and nothing is left to do."""
    devices = 250
    sender = await hostile.register(new_name("repeater"))
    victim = await with_devices(hostile, devices)
    names = [f"D{each}" for each in range(devices)]
    contents = {victim.user_id: dict.fromkeys(names, notice_of(sender))}
    await cost(hostile, sender, contents)

    queued, made = await cost(hostile, sender, contents)
    assert (queued, set(made)) == (0, {"withheld_read_queued"})
    assert made["withheld_read_queued"] <= devices / 100

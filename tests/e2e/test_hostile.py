"""Floods and storms: honest senders get their share, and no request costs without end.

Counts of statements tell what a request costs: they do not depend on the machine.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from tests.e2e.conftest import on_postgres
from tests.harness.client import Client
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
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
    two_on,
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


async def with_devices(homeserver: Homeserver, number: int) -> tuple[Client, list[str]]:
    """Register a user who has many devices, as if all had logged in."""
    client = await homeserver.register(new_name("victim"), device_id="D0")
    names = [f"D{each}" for each in range(number)]
    values = ", ".join(["(?, ?)"] * (number - 1))
    homeserver.query(
        f"INSERT INTO devices (user_id, device_id) VALUES {values}",  # noqa: S608
        [value for name in names[1:] for value in (client.user_id, name)],
    )
    return client, names


def notice_of(client: Client, **more: Any) -> dict[str, Any]:
    return make_notice(make_key(client.user_id), client.device_id, **more)


Flood = Callable[[int], Awaitable[Any]]


def local_flood(sender: Client, victim: Client, devices: list[str]) -> Flood:
    """Send notices for invented devices, and repeat them for those that exist."""

    async def step(number: int) -> None:
        invented = [f"invented {number} {each}" for each in range(250)]
        names = devices if number % 2 else invented
        contents = {victim.user_id: dict.fromkeys(names, notice_of(sender))}
        assert await sender.send_to_device(WITHHELD, contents) == 200

    return step


def remote_flood(
    homeserver: Homeserver, remote: RemoteServer, victim: Client, devices: list[str]
) -> Flood:
    """Let a server make up users, each of whom sends to a few devices."""

    def content(user: int) -> dict[str, Any]:
        notice = make_notice(make_key(f"remote {user}"), "REMOTE")
        names = [devices[user % len(devices)], f"invented {user}", f"and {user}"]
        return {
            "sender": remote.user(f"invented{user}"),
            "type": WITHHELD,
            "message_id": f"flood {user}",
            "messages": {victim.user_id: dict.fromkeys(names, notice)},
        }

    async def step(number: int) -> None:
        contents = [content(50 * number + each) for each in range(50)]
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
    victim, devices = await with_devices(hostile, 100)
    attacker = await hostile.register(new_name("attacker"))
    local = local_flood(attacker, victim, devices)
    floods = [local, local, remote_flood(hostile, remote, victim, devices)]
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


async def statements(homeserver: Homeserver) -> dict[str, int]:
    """Return how many statements of ours there were, by their name."""
    return {
        series.partition('desc="')[2].partition('"')[0]: int(value)
        for series, value in (await homeserver.metrics()).items()
        if series.startswith(STATEMENTS) and 'desc="withheld_' in series
    }


async def cost(
    homeserver: Homeserver, sender: Client, contents: dict[str, Any]
) -> dict[str, int]:
    """Make a request; return the statements that came of it."""
    before = await statements(homeserver)
    assert await sender.send_to_device(WITHHELD, contents) == 200
    await nothing_to_do(homeserver)
    after = await statements(homeserver)
    made = {name: after[name] - before.get(name, 0) for name in after}
    return {name: number for name, number in made.items() if number}


@in_reactor
async def test_nobody_looks_up_what_synapse_found_not_to_exist(
    hostile: Homeserver,
) -> None:
    """Nor into a request with thousands of messages: no client sends so many."""
    sender = await hostile.register(new_name("inventor"))
    victim = await hostile.register(new_name("victim"))
    notice = notice_of(sender)
    for number in (MOST_OF_ONE, 5000):
        before = total(await hostile.metrics(), DECISIONS, reason="limit")
        invented = [f"@invented{each}:withheld.test" for each in range(number)]
        users = {user_id: {"*": notice} for user_id in invented}
        devices = {victim.user_id: dict.fromkeys(invented, notice)}
        for request in (users, devices):
            assert await cost(hostile, sender, request) == {}
        after = total(await hostile.metrics(), DECISIONS, reason="limit")
        assert (after > before) is (number > MOST_OF_ONE)


@in_reactor
async def test_duplicates_for_many_devices_are_confirmed_by_few_statements(
    hostile: Homeserver,
) -> None:
    sender = await hostile.register(new_name("repeater"))
    victim, devices = await with_devices(hostile, 250)
    contents = {victim.user_id: dict.fromkeys(devices, notice_of(sender))}
    await cost(hostile, sender, contents)

    made = await cost(hostile, sender, contents)
    assert [*made] == ["withheld_read_queued"]
    assert made["withheld_read_queued"] <= len(devices) / 100


CONNECTIONS, ROUNDS = 32, 12


@on_postgres
@in_reactor
async def test_storm_of_notices_leaves_one_and_every_olm_message(
    homeserver: Homeserver,
) -> None:
    """Those that re-arm all stay, in order; and nobody lost a race."""
    two = await two_on(homeserver)

    async def keep_sending(connection: int) -> None:
        for number in range(ROUNDS):
            name = f"{connection} {number}"
            await two.send(two.notice(reason=name))
            olm = make_olm_lookalike(two.sender_key, make_key("theirs"), name)
            await two.send(olm, ENCRYPTED)
            await two.send(two.notice(reason=f"{name} again"))

    await together(*map(keep_sending, range(CONNECTIONS)))
    await everything_tidied(homeserver)
    queued = two.mailbox()
    assert [each["type"] for each in queued].count(WITHHELD) == 1
    bodies = [
        next(iter(each["content"]["ciphertext"].values()))["body"].split()
        for each in queued
        if each["type"] == ENCRYPTED
    ]
    for connection in range(CONNECTIONS):
        found = [int(number) for own, number in bodies if own == str(connection)]
        assert found == [*range(ROUNDS)]
    log = homeserver.log_path.read_text(errors="replace")
    assert "could not serialize" not in log
    assert await failures(homeserver) == 0

"""Floods: honest senders get their share, and no request costs without end."""

from __future__ import annotations

from typing import Any

from tests.harness.client import Client
from tests.harness.messages import WITHHELD, make_key, make_notice
from tests.harness.samples import failures
from tests.harness.servers.homeserver import Homeserver, stream_ids
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import everything_tidied, new_name, nothing_to_do, send
from tests.harness.waiting import eventually, pause, together

MOST_OF_ONE = 250  # messages of a request are looked at
STATEMENTS = 'synapse_storage_transaction_time_count_total{desc="withheld_'


def notice_of(client: Client, **more: Any) -> dict[str, Any]:
    return make_notice(make_key(client.user_id), client.device_id, **more)


def of_invented(remote: RemoteServer, to: str, number: int) -> dict[str, Any]:
    """Return an EDU of a user whom a server made up, for a few devices."""
    user, notice = f"invented{number}", make_notice(make_key(f"{number}"), "REMOTE")
    by_device = dict.fromkeys([f"D{number % 100}", user, f"and {user}"], notice)
    about = {"sender": remote.user(user), "type": WITHHELD, "message_id": user}
    return {**about, "messages": {to: by_device}}


async def test_hostile_senders_take_nothing_from_an_honest_one(
    homeserver: Homeserver, remote: RemoteServer
) -> None:
    """Its mailboxes are learned and its duplicates collapse, however others flood."""
    honest = await homeserver.register(new_name("honest"), device_id="HONEST")
    away = [await homeserver.register(new_name("away")) for _ in range(5)]
    for recipient in away:
        await send(honest, recipient, notice_of(honest, number=0))
    # What was queued before the start has to be learned.
    await homeserver.restart()
    attacker = await homeserver.register(new_name("attacker"))
    victim = await homeserver.register(new_name("victim"))
    # As if all had logged in.
    devices = [f"D{each}" for each in range(100)]
    with homeserver.connected() as cursor:
        sql = "INSERT INTO devices (user_id, device_id) VALUES (?, ?)"
        cursor.executemany(sql, [(victim.user_id, each) for each in devices])
    collapsed, times, is_over = 0, [0, 0], False

    def rows() -> set[int]:
        return {len(stream_ids(homeserver, recipient)) for recipient in away}

    async def flood() -> None:
        """Send notices for invented devices, and repeat them for those that exist."""
        while not is_over:
            invented = [f"invented {times[0]} {each}" for each in range(MOST_OF_ONE)]
            names = devices if times[0] % 2 else invented
            contents = {victim.user_id: dict.fromkeys(names, notice_of(attacker))}
            assert await attacker.send_to_device(WITHHELD, contents) == 200
            times[0] += 1

    async def flood_from_there() -> None:
        while not is_over:
            numbers = range(50 * times[1], 50 * times[1] + 50)
            edus = [of_invented(remote, victim.user_id, each) for each in numbers]
            assert (await remote.send_edus(homeserver, edus))[0] == 200
            times[1] += 1

    async def be_honest() -> None:
        nonlocal collapsed, is_over
        try:
            await eventually(lambda: all(times), True)
            for recipient in away:
                await send(honest, recipient, notice_of(honest, number=1))
            await eventually(rows, {1})
            for number in range(12):
                recipient = away[number % len(away)]
                before = stream_ids(homeserver, recipient)
                await send(honest, recipient, notice_of(honest, number=number + 2))
                collapsed += stream_ids(homeserver, recipient) == before
                await pause()
        finally:
            is_over = True

    await together(be_honest(), flood(), flood(), flood_from_there())
    assert collapsed >= 8
    await everything_tidied(homeserver)
    assert rows() == {1}
    assert await failures(homeserver) == 0


async def statements(homeserver: Homeserver) -> dict[str, float]:
    """Return how many statements of ours there were, by their name."""
    await nothing_to_do(homeserver)
    metrics = await homeserver.metrics()
    return {name: metrics[name] for name in metrics if name.startswith(STATEMENTS)}


async def test_nobody_looks_up_what_does_not_exist(homeserver: Homeserver) -> None:
    """Nor into a request with thousands of messages: no client sends so many."""
    sender = await homeserver.register(new_name("inventor"))
    before = await statements(homeserver)
    for number in (MOST_OF_ONE, 5000):
        invented = [f"@invented{each}:withheld.test" for each in range(number)]
        users = {each: {"*": notice_of(sender)} for each in invented}
        devices = {sender.user_id: dict.fromkeys(invented, notice_of(sender))}
        for messages in (users, devices):
            assert await sender.send_to_device(WITHHELD, messages) == 200
    assert await statements(homeserver) == before

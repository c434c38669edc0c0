"""What a device asked for goes once it is gone, here and on another server."""

from __future__ import annotations

import json
from typing import Any, AsyncIterator, Callable

import attrs
import pytest

from tests.e2e.test_sweep import sweep
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import PLAIN
from tests.harness.databases.mailbox import mailbox
from tests.harness.homeservers.federating import federating
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import RUNNING, NewDatabase, log_in, new_name, send
from tests.harness.polling import eventually
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.together import together

KEY_REQUEST = "m.room_key_request"
CLIENT = "/_matrix/client/v3"


@attrs.frozen
class Servers:
    """Two servers that federate; the one at home has the module."""

    home: Homeserver
    abroad: Homeserver


@async_yield_fixture(scope="module")
async def servers(
    new_directory: Callable[[], Any], new_database: NewDatabase
) -> AsyncIterator[Servers]:
    module = {"rules": {"key_requests": True}}
    servers = Servers(
        federating(new_directory() / "home", module, new_database()),
        federating(new_directory() / "abroad", None, new_database()),
    )
    both = (servers.home, servers.abroad)
    RUNNING.extend(both)
    try:
        await together(*(each.start() for each in both))
        yield servers
    finally:
        await together(*(each.stop() for each in both))
        for each in both:
            RUNNING.remove(each)


def request(asker: Client, number: int = 1) -> dict[str, Any]:
    return {
        "action": "request",
        "requesting_device_id": asker.device_id,
        "request_id": str(number),
    }


def askers(homeserver: Homeserver, recipient: Client) -> list[str]:
    """Return of which devices requests are queued, in order."""
    return [
        message["content"]["requesting_device_id"]
        for message in mailbox(homeserver, recipient)
        if message["type"] == KEY_REQUEST
    ]


async def asked(servers: Servers, homeserver: Homeserver) -> tuple[Client, Client]:
    """Let two devices of a user ask somebody at home.

    Returns:
        The device that is to go, and who was asked.
    """
    stays = await homeserver.register(new_name("asker"), device_id="STAYS")
    goes = await log_in(stays, "GOES")
    recipient = await servers.home.register(new_name("asked"), device_id="AWAY")
    if homeserver is servers.abroad:
        await together(*(each.upload_keys() for each in (stays, goes)))
        await meet(servers, stays, recipient)
    for number, asker in enumerate([goes, goes, stays]):
        content = request(asker, number)
        await send(asker, recipient, content, KEY_REQUEST)
    await send(stays, recipient, {}, PLAIN)
    await eventually(lambda: len(mailbox(servers.home, recipient)), 4)
    return goes, recipient


async def meet(servers: Servers, user: Client, other: Client) -> None:
    """Let users of both servers share a room, and their servers their devices."""
    invitation = {"invite": [other.user_id], "preset": "private_chat"}
    room_id = (await succeed(user, "createRoom", invitation))["room_id"]
    server = user.user_id.partition(":")[2]
    await succeed(other, f"join/{room_id}?server_name={server}", {})
    await succeed(other, "keys/query", {"device_keys": {user.user_id: []}})
    await eventually(lambda: listed(servers.home, user), ["GOES", "STAYS"])


async def succeed(client: Client, path: str, body: Any) -> Any:
    status, answer = await client.request("POST", f"{CLIENT}/{path}", body)
    assert status == 200, answer
    return answer


def listed(homeserver: Homeserver, user: Client) -> list[str]:
    """Return which devices of another server's user a server knows."""
    sql = "SELECT device_id FROM device_lists_remote_cache WHERE user_id = ?"
    return sorted(device for (device,) in homeserver.query(sql, (user.user_id,)))


async def gone(servers: Servers, device: Client) -> None:
    """Log a device out, and wait until the server at home has heard of it."""
    await device.logout()
    if device.base_url == servers.abroad.base_url:
        await eventually(lambda: listed(servers.home, device), ["STAYS"])


@pytest.mark.parametrize("where", ["home", "abroad"])
@in_reactor
async def test_sweep_takes_the_requests_of_a_device_that_is_gone(
    servers: Servers, where: str
) -> None:
    """While the device is there, they stay."""
    goes, recipient = await asked(servers, getattr(servers, where))
    code, dry = sweep(servers.home, "--dry-run")
    assert (code, dry["rules"]["key_requests"]["redundant"]) == (0, 0)
    await gone(servers, goes)
    code, done = sweep(servers.home)
    assert (code, done["rules"]["key_requests"]["deleted"]) == (0, 2)
    assert ["STAYS"] == askers(servers.home, recipient)


@pytest.mark.parametrize("where", ["home", "abroad"])
@in_reactor
async def test_first_touch_takes_the_requests_of_a_device_that_is_gone(
    servers: Servers, where: str
) -> None:
    """Once the mailbox is read again, after a start."""
    goes, recipient = await asked(servers, getattr(servers, where))
    await gone(servers, goes)
    await servers.home.restart()
    someone = await servers.home.register(new_name("someone"), device_id="NEW")
    await send(someone, recipient, request(someone), KEY_REQUEST)
    await eventually(lambda: askers(servers.home, recipient), ["STAYS", "NEW"])


@in_reactor
async def test_request_that_overtakes_the_news_of_its_device_stays(
    servers: Servers,
) -> None:
    """It is of a device that the other server announces only later."""
    goes, recipient = await asked(servers, servers.abroad)
    sql = "DELETE FROM {} WHERE user_id = ? AND device_id = ?"
    for table in ("device_lists_remote_cache", "device_lists_stream"):
        # As before the announcement.
        servers.home.query(sql.format(table), (goes.user_id, goes.device_id))
    before = json.dumps(mailbox(servers.home, recipient))
    code, done = sweep(servers.home)
    assert (code, done["deleted"]) == (0, 0)
    assert before == json.dumps(mailbox(servers.home, recipient))

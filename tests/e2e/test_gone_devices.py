"""What is for a device that goes, and what it asked for once it is gone."""

from __future__ import annotations

import json
import time
from typing import Any, AsyncIterator, Callable

import attrs
import pytest

from tests.e2e.conftest import on_both_databases
from tests.e2e.test_sweep import sweep
from tests.harness.client import Client
from tests.harness.messages import PLAIN
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import (
    Homeserver,
    federating,
    mailbox,
    rows_of,
    running,
    stream_ids,
)
from tests.harness.servers.stage import (
    Two,
    everything_tidied,
    log_in,
    new_name,
    send,
)
from tests.harness.waiting import eventually, together

KEY_REQUEST = "m.room_key_request"
CLIENT = "/_matrix/client/v3"


@attrs.frozen
class Servers:
    """Two servers that federate; the one at home has the module."""

    home: Homeserver
    abroad: Homeserver


@async_yield_fixture(scope="module")
async def servers(new_directory: Callable[[], Any]) -> AsyncIterator[Servers]:
    module = {"rules": {"key_requests": True}}
    home = federating(new_directory() / "home", module)
    abroad = federating(new_directory() / "abroad")
    async with running(home, abroad):
        yield Servers(home, abroad)


def request(asker: Client, number: int = 1) -> dict[str, Any]:
    return {
        "action": "request",
        "requesting_device_id": asker.device_id,
        "request_id": str(number),
    }


def askers(homeserver: Homeserver, recipient: Client) -> list[str]:
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
    room = await user.succeed("POST", f"{CLIENT}/createRoom", invitation)
    server = user.user_id.partition(":")[2]
    join = f"{CLIENT}/join/{room['room_id']}?server_name={server}"
    await other.succeed("POST", join, {})
    query: Any = {"device_keys": {user.user_id: []}}
    await other.succeed("POST", f"{CLIENT}/keys/query", query)
    await eventually(lambda: listed(servers.home, user), ["GOES", "STAYS"])


def listed(homeserver: Homeserver, user: Client) -> list[str]:
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
    goes, recipient = await asked(servers, getattr(servers, where))
    code, dry = sweep(servers.home, "--dry-run")
    assert (code, dry["rules"]["key_requests"]["redundant"]) == (0, 0)
    await gone(servers, goes)
    code, done = sweep(servers.home)
    assert (code, done["rules"]["key_requests"]["deleted"]) == (0, 2)
    assert ["STAYS"] == askers(servers.home, recipient)


@in_reactor
async def test_first_touch_takes_the_requests_of_a_device_that_is_gone(
    servers: Servers,
) -> None:
    """Once the mailbox is read again, after a start."""
    goes, recipient = await asked(servers, servers.abroad)
    await gone(servers, goes)
    await servers.home.restart()
    someone = await servers.home.register(new_name("someone"), device_id="NEW")
    await send(someone, recipient, request(someone), KEY_REQUEST)
    await eventually(lambda: askers(servers.home, recipient), ["STAYS", "NEW"])


DAY_MS = 86_400_000


@on_both_databases
@in_reactor
async def test_notice_beside_a_doomed_row_is_delivered(two: Two) -> None:
    """While the task is there, its rows are neither queued nor ours to delete."""
    doomed = await two.send(two.notice(reason="doomed"))
    (stream_id,) = stream_ids(two.homeserver, two.recipient)
    params = {
        "user_id": two.recipient.user_id,
        "device_id": "AWAY",
        "up_to_stream_id": stream_id,
    }
    # As Synapse writes it; for tomorrow, so that it does not get to it during the test.
    tomorrow = int(time.time() * 1000) + DAY_MS
    text = json.dumps(params, separators=(",", ":"))
    two.homeserver.query(
        """
        INSERT INTO scheduled_tasks
            (id, action, status, timestamp, resource_id, params, result, error)
        VALUES (?, 'delete_device_messages', 'scheduled', ?, 'AWAY', ?, NULL, NULL)
        """,
        (two.recipient.user_id, tomorrow, text),
    )
    async with counted(two.homeserver) as decided:
        new = await two.send(two.notice(reason="for the new device"))
        await two.send(two.notice(reason="again"))
    await everything_tidied(two.homeserver)
    assert two.mailbox() == [doomed, new]
    assert decided == {"deliver": 1, "collapse": 1}


@on_both_databases
@in_reactor
async def test_device_made_again_gets_its_notice_before_the_task_is_visible(
    two: Two,
) -> None:
    """Between deleting a device and scheduling its task, the row looks queued."""
    await two.send(two.notice(reason="doomed"))
    (text,) = rows_of(two.homeserver, two.recipient)
    (stream_id,) = stream_ids(two.homeserver, two.recipient)
    await two.recipient.logout()
    again = await log_in(two.recipient, "AWAY")
    await eventually(lambda: len(rows_of(two.homeserver, again)), 0)
    two.homeserver.query(
        """
        INSERT INTO device_inbox
            (user_id, device_id, stream_id, message_json, instance_name)
        VALUES (?, 'AWAY', ?, ?, 'master')
        """,
        (again.user_id, stream_id, text),
    )
    two.homeserver.query("DELETE FROM scheduled_tasks WHERE resource_id = 'AWAY'")
    newest = await two.send(two.notice(reason="for the new device"))
    await eventually(two.mailbox, [newest])

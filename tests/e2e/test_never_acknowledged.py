"""Readers that never acknowledge: the newest notice supersedes, none collapses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import WITHHELD, make_message
from tests.harness.clients.olm import OlmDevice
from tests.harness.databases.mailbox import mailbox, mailbox_of
from tests.harness.homeservers.stage import (
    BRIDGE_TOKEN,
    BRIDGED_USERS,
    Two,
    new_name,
    send,
)
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from tests.harness.homeservers.homeserver import Homeserver

METHOD_NOT_ALLOWED = 405
DEHYDRATED = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"


@in_reactor
async def test_notices_for_bridged_users_supersede(
    two: Two, homeserver: Homeserver
) -> None:
    """An application service reads by position; its rows are never deleted."""
    bridge = Client(homeserver.base_url, "", "", BRIDGE_TOKEN)
    status, body = await bridge.request(
        "POST",
        "/_matrix/client/v3/register",
        {
            "type": "m.login.application_service",
            "username": new_name(BRIDGED_USERS),
            "device_id": "BRIDGED",
        },
    )
    assert status == 200, body
    bridged = Client(
        homeserver.base_url, body["user_id"], body["device_id"], body["access_token"]
    )
    async with counted(homeserver) as decided:
        for number in range(4):
            notice = two.notice(reason=f"copy {number}")
            assert await send(two.sender, bridged, notice) == 200
        await eventually(
            lambda: mailbox(homeserver, bridged),
            [make_message(two.sender.user_id, two.notice(reason="copy 3"))],
        )
    assert decided == {"deliver": 1, "supersede": 3}


@in_reactor
async def test_notices_for_dehydrated_devices_supersede(two: Two) -> None:
    """They are read from the start each time, and deleted with the device."""
    olm = OlmDevice(two.recipient.user_id, "DEHYDRATED")
    submission = {
        "device_id": "DEHYDRATED",
        "device_data": {"algorithm": "org.matrix.msc3814.v1.olm", "account": "frozen"},
        "initial_device_display_name": "dehydrated",
        **olm.keys(),
    }
    status, body = await two.recipient.request("PUT", DEHYDRATED, submission)
    assert (status, body) == (200, {"device_id": "DEHYDRATED"})
    async with counted(two.homeserver) as decided:
        for number in range(4):
            contents = {"DEHYDRATED": two.notice(reason=f"copy {number}")}
            status = await two.sender.send_to_device(
                WITHHELD, {two.recipient.user_id: contents}
            )
            assert status == 200
        newest = [make_message(two.sender.user_id, two.notice(reason="copy 3"))]
        await eventually(
            lambda: mailbox_of(two.homeserver, two.recipient.user_id, "DEHYDRATED"),
            newest,
        )
    assert decided == {"deliver": 1, "supersede": 3}
    for _ in range(2):
        assert await _read_dehydrated(two.recipient) == newest


async def _read_dehydrated(client: Client) -> Any:
    path = f"{DEHYDRATED}/DEHYDRATED/events"
    status, body = await client.request("GET", path)
    if status == METHOD_NOT_ALLOWED:  # as older Synapses had it
        status, body = await client.request("POST", path, {})
    assert status == 200, body
    return body["events"]

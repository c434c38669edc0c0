"""Rows from before the module watched, and of devices that are gone."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any, Callable

from tests.e2e.conftest import on_both_databases
from tests.e2e.test_sweep import sweep
from tests.harness.backlog import text_of
from tests.harness.messages import PLAIN, WITHHELD
from tests.harness.samples import counted, failures
from tests.harness.servers.homeserver import (
    Homeserver,
    federating,
    mailbox,
    mailbox_of,
    running,
)
from tests.harness.servers.stage import Stage, log_in, send, two_on
from tests.harness.waiting import eventually, together


@on_both_databases
async def test_backlog_from_before_a_restart_collapses(homeserver: Homeserver) -> None:
    """Olm messages may have been missed meanwhile: the newest notice stays."""
    two = await two_on(homeserver)
    await two.send(two.notice(reason="before"))
    plain = await two.send({"number": 1}, PLAIN)
    other = await two.send(two.notice(from_device="OTHERDEV"))
    await homeserver.restart()
    async with counted(homeserver) as decided:
        after = await two.send(two.notice(reason="after"))
        await eventually(two.mailbox, [plain, other, after])
        await two.send(two.notice(reason="again"))
        # Of this pair only the first reading knows: nobody watched it either.
        newest = await two.send(two.notice(from_device="OTHERDEV", reason="after"))
        await eventually(two.mailbox, [plain, after, newest])
    # What was queued before is found once the first is stored.
    assert decided == {"deliver": 1, "supersede": 1, "collapse": 1}


async def test_what_stock_left_in_deep_mailboxes_collapses(own_stage: Stage) -> None:
    """However many mailboxes are to be learned, each is read as far down."""
    two = await two_on(homeserver := await own_stage.start({}))
    recipient = two.recipient.user_id
    # More mailboxes than one statement has, more rows than one look at a mailbox has.
    devices = [f"DEEP{number}" for number in range(12)]
    notice = text_of(two.sender.user_id, WITHHELD, two.notice())
    plain = text_of(two.sender.user_id, PLAIN, {})
    # A Synapse that never stored anything goes on above what it finds.
    texts = dict(enumerate([notice] * 10 + [plain] * 1600, start=10**6))
    sql = "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)"
    await homeserver.stop()
    with homeserver.connected() as cursor:
        cursor.execute("BEGIN")
        insert = "INSERT INTO devices (user_id, device_id) VALUES (?, ?)"
        cursor.executemany(insert, [(recipient, each) for each in devices])
        rows = [(recipient, each, *row) for each in devices for row in texts.items()]
        cursor.executemany(f"{sql} VALUES (?, ?, ?, ?)", rows)
        cursor.execute("COMMIT")
    await homeserver.start()
    newest = two.notice(reason="newest")
    messages = {recipient: dict.fromkeys(devices, newest)}
    assert await two.sender.send_to_device(WITHHELD, messages) == 200

    def left() -> list[dict[str, Any]]:
        """Return the notices of all devices, without the rows above them."""
        rows = (mailbox_of(homeserver, recipient, each) for each in devices)
        return [each for each in chain(*rows) if each["type"] == WITHHELD]

    await eventually(left, [two.queued(newest)] * len(devices))
    assert await failures(homeserver) == 0


CLIENT = "/_matrix/client/v3"


async def test_requests_of_gone_devices_go(new_directory: Callable[[], Path]) -> None:
    """One on another server: what is known of it is what was announced."""
    home = federating(new_directory(), {"rules": {"key_requests": True}})
    abroad = federating(new_directory())

    def listed() -> list[str]:
        sql = "SELECT device_id FROM device_lists_remote_cache ORDER BY device_id"
        return [device_id for (device_id,) in home.query(sql)]

    async with running(home, abroad):
        recipient = await home.register("recipient")
        stays = await abroad.register("asker", device_id="STAYS")
        goes = await log_in(stays, "GOES")
        await together(stays.upload_keys(), goes.upload_keys())
        # They share a room, so that one follows the other's devices.
        invitation = {"invite": [recipient.user_id], "preset": "private_chat"}
        room = await stays.succeed("POST", f"{CLIENT}/createRoom", invitation)
        join = f"{CLIENT}/join/{room['room_id']}?server_name={abroad.server_name}"
        await recipient.succeed("POST", join, {})
        query: Any = {"device_keys": {stays.user_id: []}}
        await recipient.succeed("POST", f"{CLIENT}/keys/query", query)
        await eventually(listed, ["GOES", "STAYS"])
        asks = {"action": "request", "request_id": "1"}
        requests = [
            await send(
                asker,
                recipient,
                {**asks, "requesting_device_id": asker.device_id},
                "m.room_key_request",
            )
            for asker in (goes, stays)
        ]
        await eventually(lambda: mailbox(home, recipient), requests)
        assert sweep(home, "--dry-run")[1]["redundant"] == 0
        await goes.succeed("POST", "/_matrix/client/v3/logout", {})
        await eventually(listed, ["STAYS"])
        assert sweep(home)[1]["rules"]["key_requests"]["deleted"] == 1
        assert mailbox(home, recipient) == requests[1:]

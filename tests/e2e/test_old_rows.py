"""Rows from before the module watched, and of devices that are gone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from tests.e2e.conftest import on_both_databases
from tests.e2e.test_sweep import sweep
from tests.harness.backlog import text_of
from tests.harness.client import Client
from tests.harness.messages import PLAIN, WITHHELD
from tests.harness.reactor import in_reactor
from tests.harness.samples import counted, failures
from tests.harness.servers.homeserver import (
    Homeserver,
    federating,
    mailbox,
    mailbox_of,
    rows_of,
    running,
    stream_ids,
)
from tests.harness.servers.stage import Stage, Two, log_in, new_name, send, two_on
from tests.harness.waiting import eventually, together

if TYPE_CHECKING:
    from pathlib import Path


@on_both_databases
@in_reactor
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


# More rows than one look at a mailbox has, more mailboxes than one statement has.
ROWS = 1600
DEVICES = ["AWAY", *(f"AWAY{number}" for number in range(1, 12))]
BURY = """
    WITH RECURSIVE number(n) AS (
        SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?
    )
    INSERT INTO device_inbox
        (user_id, device_id, stream_id, message_json, instance_name)
    SELECT ?, ?, (SELECT MAX(stream_id) FROM device_inbox) + n, ?, 'master' FROM number
"""


@in_reactor
async def test_what_stock_left_in_deep_mailboxes_collapses(own_stage: Stage) -> None:
    """However many mailboxes are to be learned, each is read as far down."""
    site = own_stage.site()
    stock = await own_stage.start(None, site=site)
    two = await two_on(stock)
    recipient = two.recipient.user_id
    for device_id in DEVICES[1:]:
        sql = "INSERT INTO devices (user_id, device_id) VALUES (?, ?)"
        stock.query(sql, (recipient, device_id))

    async def send(number: int) -> dict[str, Any]:
        notice = two.notice(number=number)
        contents = {recipient: dict.fromkeys(DEVICES, notice)}
        assert await two.sender.send_to_device(WITHHELD, contents) == 200
        return two.queued(notice)

    def notices() -> list[list[dict[str, Any]]]:
        """Return the notices of each device, without the rows above them."""
        mailboxes = [mailbox_of(stock, recipient, each) for each in DEVICES]
        return [
            [each for each in mailbox if each["type"] == WITHHELD]
            for mailbox in mailboxes
        ]

    sent = [await send(number) for number in range(10)]
    assert notices() == [sent] * len(DEVICES)
    await stock.stop()
    text = text_of(two.sender.user_id, PLAIN, {})
    for device_id in DEVICES:
        stock.query(BURY, (ROWS, recipient, device_id, text))
    homeserver = await own_stage.start({}, site=site)
    two.sender.base_url = homeserver.base_url
    newest = await send(10)
    await eventually(notices, [[newest]] * len(DEVICES))
    assert await failures(homeserver) == 0


KEY_REQUEST = "m.room_key_request"
CLIENT = "/_matrix/client/v3"


async def asks(asker: Client, recipient: Client, number: int) -> None:
    content = {
        "action": "request",
        "requesting_device_id": asker.device_id,
        "request_id": str(number),
    }
    await send(asker, recipient, content, KEY_REQUEST)


def askers(homeserver: Homeserver, recipient: Client) -> list[str]:
    return sorted(
        message["content"]["requesting_device_id"]
        for message in mailbox(homeserver, recipient)
    )


def listed(homeserver: Homeserver, user: Client) -> list[str]:
    sql = "SELECT device_id FROM device_lists_remote_cache WHERE user_id = ?"
    return sorted(device for (device,) in homeserver.query(sql, (user.user_id,)))


async def meet(home: Homeserver, user: Client, other: Client) -> None:
    """Let users of two servers share a room, and that at home list the devices."""
    invitation = {"invite": [other.user_id], "preset": "private_chat"}
    room = await user.succeed("POST", f"{CLIENT}/createRoom", invitation)
    server = user.user_id.partition(":")[2]
    join = f"{CLIENT}/join/{room['room_id']}?server_name={server}"
    await other.succeed("POST", join, {})
    query: Any = {"device_keys": {user.user_id: []}}
    await other.succeed("POST", f"{CLIENT}/keys/query", query)
    await eventually(lambda: listed(home, user), ["GOES", "STAYS"])


@in_reactor
async def test_the_requests_of_a_device_that_is_gone_go(
    new_directory: Callable[[], Path],
) -> None:
    """Of a device here or on another server: at the first touch, and by a sweep."""
    home = federating(new_directory(), {"rules": {"key_requests": True}})
    abroad = federating(new_directory())
    async with running(home, abroad):
        touched, swept = [await home.register(name) for name in ("touched", "swept")]
        going = []
        for homeserver in (home, abroad):
            stays = await homeserver.register(new_name("asker"), device_id="STAYS")
            goes = await log_in(stays, "GOES")
            if homeserver is abroad:
                await together(*(each.upload_keys() for each in (stays, goes)))
                await meet(home, stays, touched)
            for recipient in (touched, swept):
                for number, asker in enumerate([goes, goes, stays]):
                    await asks(asker, recipient, number)
            going.append(goes)
        both = ["GOES"] * 4 + ["STAYS"] * 2
        for recipient in (touched, swept):
            await eventually(partial(askers, home, recipient), both)
        assert sweep(home, "--dry-run")[1]["redundant"] == 0

        await together(*(each.logout() for each in going))
        await eventually(lambda: listed(home, going[1]), ["STAYS"])
        await home.restart()
        someone = await home.register("someone", device_id="SOMEONE")
        await asks(someone, touched, 1)
        left = ["SOMEONE", "STAYS", "STAYS"]
        await eventually(lambda: askers(home, touched), left)
        assert askers(home, swept) == both
        code, done = sweep(home)
        assert (code, done["rules"]["key_requests"]["deleted"]) == (0, 4)
        assert askers(home, swept) == ["STAYS", "STAYS"]


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

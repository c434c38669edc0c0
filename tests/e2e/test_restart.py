"""What was queued before the module watched: collapsed on first touch, never lost."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import on_both_databases
from tests.harness.backlog import text_of
from tests.harness.messages import PLAIN, WITHHELD
from tests.harness.reactor import in_reactor
from tests.harness.samples import counted, failures
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import Stage, Two, two_on
from tests.harness.waiting import eventually


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


def bury(homeserver: Homeserver, two: Two) -> None:
    """Put other messages above what is queued for each device, Synapse being away."""
    ((newest,),) = homeserver.query("SELECT MAX(stream_id) FROM device_inbox")
    text = text_of(two.sender.user_id, PLAIN, {})
    for device_id in DEVICES:
        homeserver.query(
            """
            WITH RECURSIVE number(n) AS (
                SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?
            )
            INSERT INTO device_inbox
                (user_id, device_id, stream_id, message_json, instance_name)
            SELECT ?, ?, ? + n, ?, 'master' FROM number
            """,
            (ROWS, two.recipient.user_id, device_id, newest, text),
        )


def notices(homeserver: Homeserver) -> dict[str, list[dict[str, Any]]]:
    """Return the notices of each device, without the rows above them."""
    sql = "SELECT device_id, message_json FROM device_inbox WHERE message_json LIKE ?"
    found: dict[str, list[dict[str, Any]]] = {}
    for device_id, text in homeserver.query(sql, (f"%{WITHHELD}%",)):
        found.setdefault(device_id, []).append(json.loads(text))
    return found


@in_reactor
async def test_what_stock_left_in_deep_mailboxes_collapses_after_every_start(
    own_stage: Stage,
) -> None:
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

    for number in range(10):
        await send(number)
    assert [len(each) for each in notices(stock).values()] == [10] * len(DEVICES)
    await stock.stop()
    homeserver = await own_stage.start({}, site=site)
    two.sender.base_url = homeserver.base_url
    for number in range(10, 12):
        await homeserver.stop()
        bury(homeserver, two)
        await homeserver.start()
        newest = await send(number)
        left = {each: [newest] for each in DEVICES}
        await eventually(lambda: notices(homeserver), left)
    assert await failures(homeserver) == 0

"""A notice below thousands of other rows is found again, restart after restart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.harness.clients.messages import PLAIN, WITHHELD
from tests.harness.databases.backlog import text_of
from tests.harness.homeservers.stage import Stage, Two, two_on
from tests.harness.metrics.samples import failures
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from tests.harness.homeservers.homeserver import Homeserver

# More rows than one look at a mailbox has, more mailboxes than one statement has.
ROWS, MAILBOXES, RESTARTS = 1600, 12, 2
AT_ONCE = 200


def bury(homeserver: Homeserver, two: Two) -> None:
    """Put other messages above what is queued for the recipient, Synapse being away.

    As if they had been sent one by one.
    """
    ((newest,),) = homeserver.query("SELECT MAX(stream_id) FROM device_inbox")
    text = text_of(two.sender.user_id, PLAIN, {})
    for device_id in devices():
        for start in range(newest + 1, newest + 1 + ROWS, AT_ONCE):
            values = ", ".join(["(?, ?, ?, ?, 'master')"] * AT_ONCE)
            parameters = [
                each
                for stream_id in range(start, start + AT_ONCE)
                for each in (two.recipient.user_id, device_id, stream_id, text)
            ]
            homeserver.query(
                "INSERT INTO device_inbox "  # noqa: S608 only marks are put in
                "(user_id, device_id, stream_id, message_json, instance_name) "
                f"VALUES {values}",
                parameters,
            )
    if homeserver._database["name"] == "psycopg2":
        reached = (newest + ROWS,)
        homeserver.query("SELECT setval('device_inbox_sequence', ?)", reached)
        homeserver.query(
            "UPDATE stream_positions SET stream_id = ? WHERE stream_name = 'to_device'",
            reached,
        )


def devices() -> list[str]:
    """Return the recipient's devices, of which one is logged in."""
    return ["AWAY", *(f"AWAY{number}" for number in range(1, MAILBOXES))]


def notices(homeserver: Homeserver, user_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the notices of all devices, without the rows above them."""
    rows = homeserver.query(
        """
        SELECT device_id, message_json FROM device_inbox
        WHERE user_id = ? AND message_json LIKE ?
        """,
        (user_id, f"%{WITHHELD}%"),
    )
    found = [(device_id, json.loads(text)) for device_id, text in rows]
    return sorted(found, key=str)


@in_reactor
async def test_deep_mailboxes_hold_one_notice_after_every_restart(
    own_stage: Stage,
) -> None:
    """However many mailboxes are to be learned, each is read as far down."""
    homeserver = await own_stage.start({})
    two = await two_on(homeserver)
    recipient = two.recipient.user_id
    for device_id in devices()[1:]:
        homeserver.query(
            "INSERT INTO devices (user_id, device_id) VALUES (?, ?)",
            (recipient, device_id),
        )

    async def send(number: int) -> None:
        contents = dict.fromkeys(devices(), two.notice(number=number))
        status = await two.sender.send_to_device(WITHHELD, {recipient: contents})
        assert status == 200

    await send(0)
    for number in range(1, RESTARTS + 1):
        await homeserver.stop()
        bury(homeserver, two)
        await homeserver.start()
        await send(number)
        message = two.queued(two.notice(number=number))
        left = sorted(((each, message) for each in devices()), key=str)
        await eventually(lambda: notices(homeserver, recipient), left)
    assert await failures(homeserver) == 0

"""Rows that a device deletion is about to delete do not count as queued."""

from __future__ import annotations

import json
import time

from tests.e2e.conftest import on_both_databases
from tests.harness.databases.mailbox import rows_of, stream_ids
from tests.harness.homeservers.stage import Two, everything_tidied, log_in
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

pytestmark = on_both_databases

DAY_MS = 86_400_000


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


@in_reactor
async def test_changed_device_list_supersedes(two: Two) -> None:
    """The device may have been deleted and made again before any task was written."""
    await two.send(two.notice(reason="before"))
    await two.recipient.upload_keys()
    async with counted(two.homeserver) as decided:
        newest = await two.send(two.notice(reason="after"))
        await eventually(two.mailbox, [newest])
        await two.send(two.notice(reason="again"))
    assert decided == {"supersede": 1, "collapse": 1}


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

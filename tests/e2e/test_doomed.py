"""Finding 5: rows that a device deletion is about to delete do not count as queued."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import PLAIN
from tests.harness.databases.mailbox import mailbox, stream_ids
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import Two, everything_tidied, log_in
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

pytestmark = on_both_databases

TASK = "delete_device_messages"
DAY_MS = 86_400_000
# Synapse runs ten at once, in newer versions five. It deletes 1,000 rows at a time
# and rests between.
TASKS = 12
BACKLOG = 4_000
# Beyond what the stream will reach.
FAR_AHEAD = 10_000_000


def schedule_deletion(
    homeserver: Homeserver,
    user_id: str,
    device_id: str,
    up_to_stream_id: int,
    *,
    status: str = "scheduled",
) -> None:
    """Write the task that Synapse writes when a device was deleted.

    Scheduled for tomorrow, so that Synapse does not get to it during a test; an
    active one it begins as soon as it schedules another.
    """
    timestamp = int(time.time() * 1000) + (DAY_MS if status == "scheduled" else 0)
    params = {
        "user_id": user_id,
        "device_id": device_id,
        "up_to_stream_id": up_to_stream_id,
    }
    text = json.dumps(params, separators=(",", ":"))
    homeserver.query(
        """
        INSERT INTO scheduled_tasks
            (id, action, status, timestamp, resource_id, params, result, error)
        VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)
        """,
        (f"{user_id} {device_id}", TASK, status, timestamp, device_id, text),
    )


def tasks(homeserver: Homeserver, user_id: str) -> list[Any]:
    """Return the unfinished deletions of messages for a user's devices."""
    return homeserver.query(
        """
        SELECT id FROM scheduled_tasks
        WHERE action = ? AND status IN ('scheduled', 'active') AND params LIKE ?
        """,
        (TASK, f'%"{user_id}"%'),
    )


def occupy_task_scheduler(homeserver: Homeserver) -> None:
    """Give Synapse more deletions to do than it does at once, each with a backlog."""
    homeserver.query(
        """
        WITH RECURSIVE number(n) AS (
            SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?
        )
        INSERT INTO device_inbox
            (user_id, device_id, stream_id, message_json, instance_name)
        SELECT '@gone:withheld.test', CAST(n - n / ? * ? AS TEXT), ? + n, '{}', 'master'
        FROM number
        """,
        (TASKS * BACKLOG, TASKS, TASKS, FAR_AHEAD),
    )
    for device in range(TASKS):
        schedule_deletion(
            homeserver,
            "@gone:withheld.test",
            str(device),
            FAR_AHEAD * 2,
            status="active",
        )


@in_reactor
async def test_notice_beside_a_doomed_row_is_delivered(two: Two) -> None:
    """While the task is there, its rows are neither queued nor ours to delete."""
    await two.send(two.notice(reason="doomed"))
    (doomed,) = stream_ids(two.homeserver, two.recipient)
    schedule_deletion(two.homeserver, two.recipient.user_id, "AWAY", doomed)
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(reason="for the new device"))
        await two.send(two.notice(reason="again"))
    await everything_tidied(two.homeserver)
    assert two.mailbox() == [
        two.queued(two.notice(reason="doomed")),
        two.queued(two.notice(reason="for the new device")),
    ]
    assert decided == {"deliver": 1, "collapse": 1}


@in_reactor
async def test_deletion_for_another_user_dooms_nothing(
    two: Two, homeserver: Homeserver
) -> None:
    """Devices of two users may have one ID; a task names its user."""
    await two.send(two.notice())
    (queued,) = stream_ids(homeserver, two.recipient)
    schedule_deletion(homeserver, two.sender.user_id, "AWAY", queued)
    async with counted(homeserver) as decided:
        await two.send(two.notice())
    assert stream_ids(homeserver, two.recipient) == [queued]
    assert decided == {"collapse": 1}


@in_reactor
async def test_rows_after_the_deletion_are_queued(
    two: Two, homeserver: Homeserver
) -> None:
    """A task dooms what came before it only."""
    await two.send({"number": 1}, PLAIN)
    (before,) = stream_ids(homeserver, two.recipient)
    await two.send(two.notice())
    schedule_deletion(homeserver, two.recipient.user_id, "AWAY", before)
    async with counted(homeserver) as decided:
        await two.send(two.notice())
    assert decided == {"collapse": 1}


@in_reactor
async def test_changed_device_list_supersedes(two: Two) -> None:
    """The device may have been deleted and made again before any task was written."""
    await two.send(two.notice(reason="before"))
    await two.recipient.upload_keys()
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(reason="after"))
        await eventually(two.mailbox, [two.queued(two.notice(reason="after"))])
        await two.send(two.notice(reason="again"))
    assert decided == {"supersede": 1, "collapse": 1}


async def log_in_again(two: Two) -> Client:
    """Log the recipient out, and in again under the same device ID."""
    await two.recipient.logout()
    return await log_in(two.recipient, two.recipient.device_id)


async def until_empty(homeserver: Homeserver, recipient: Client) -> None:
    """Wait until nothing is queued for a device."""
    nothing: list[dict[str, Any]] = []
    await eventually(lambda: mailbox(homeserver, recipient), nothing)


@in_reactor
async def test_device_made_again_gets_its_notice_before_the_task_is_visible(
    two: Two,
) -> None:
    """Between deleting a device and scheduling its task, the row looks queued."""
    await two.send(two.notice(reason="doomed"))
    ((stream_id, text, instance),) = two.homeserver.query(
        """
        SELECT stream_id, message_json, instance_name FROM device_inbox
        WHERE user_id = ?
        """,
        (two.recipient.user_id,),
    )
    again = await log_in_again(two)
    await until_empty(two.homeserver, again)
    two.homeserver.query(
        """
        INSERT INTO device_inbox
            (user_id, device_id, stream_id, message_json, instance_name)
        VALUES (?, ?, ?, ?, ?)
        """,
        (again.user_id, again.device_id, stream_id, text, instance),
    )
    two.homeserver.query("DELETE FROM scheduled_tasks WHERE resource_id = ?", ("AWAY",))
    await two.send(two.notice(reason="for the new device"))
    expected = two.queued(two.notice(reason="for the new device"))
    await eventually(lambda: mailbox(two.homeserver, again), [expected])


@in_reactor
async def test_device_made_again_during_the_deletion_gets_its_notice(two: Two) -> None:
    """While the scheduler is busy with other deletions, this one has to wait."""
    await two.send(two.notice(reason="doomed"))
    occupy_task_scheduler(two.homeserver)
    again = await log_in_again(two)
    await two.send(two.notice(reason="for the new device"))
    await two.send(two.notice(reason="again"))
    newest = two.queued(two.notice(reason="for the new device"))
    queued = mailbox(two.homeserver, again)
    # The scheduler of old versions may have got there already.
    if tasks(two.homeserver, two.recipient.user_id):
        doomed = two.queued(two.notice(reason="doomed"))
        assert queued == [doomed, newest]
    await eventually(lambda: tasks(two.homeserver, two.recipient.user_id), [])
    assert mailbox(two.homeserver, again) == [newest]

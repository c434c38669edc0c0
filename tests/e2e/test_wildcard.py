"""Notices to `*`, all devices of a user."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import WITHHELD
from tests.harness.databases.mailbox import mailbox, mailbox_of
from tests.harness.homeservers.stage import Two, log_in
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor

pytestmark = on_both_databases


@async_fixture()
async def second(two: Two) -> Client:
    """Log the recipient in on a second device."""
    return await log_in(two.recipient, "SECOND")


async def broadcast(two: Two, reason: str, **others: Any) -> dict[str, Any]:
    """Send a notice to `*`, and others to single devices; return it as queued."""
    content = two.notice(reason=reason)
    contents = {two.recipient.user_id: {"*": content, **others}}
    assert await two.sender.send_to_device(WITHHELD, contents) == 200
    return two.queued(content)


@in_reactor
async def test_repeated_wildcard_notice_leaves_the_newest_one(
    two: Two, second: Client
) -> None:
    """It is always stored, and in each mailbox it makes the last one redundant."""
    await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        for number in range(3):
            newest = await broadcast(two, f"copy {number}")
        # How the queued one was addressed makes no difference.
        await two.send(two.notice())
        await eventually(two.mailbox, [newest])
        await eventually(lambda: mailbox(two.homeserver, second), [newest])
    assert decided["collapse"] == 1


@in_reactor
async def test_mixed_wildcard_is_what_stock_makes_of_it(
    two: Two, second: Client
) -> None:
    """Of `{"*": …, "A": …}` stock stores A's alone; `*` never broadcasts."""
    for _ in range(3):
        await broadcast(two, "all", AWAY=two.notice())
        await eventually(two.mailbox, [two.queued(two.notice())])
        assert mailbox(two.homeserver, second) == []
    assert mailbox_of(two.homeserver, two.recipient.user_id, "*") == []


@in_reactor
async def test_hidden_devices_get_nothing(two: Two) -> None:
    """Synapse keeps cross-signing keys as hidden devices; `*` is not for them."""
    two.homeserver.query(
        """
        INSERT INTO devices (user_id, device_id, display_name, hidden)
        VALUES (?, 'HIDDEN', 'a key', ?)
        """,
        (two.recipient.user_id, True),
    )
    both = {two.recipient.user_id: dict.fromkeys(("HIDDEN", "AWAY"), two.notice())}
    for _ in range(2):
        assert await two.sender.send_to_device(WITHHELD, both) == 200
        newest = await broadcast(two, "all")
    await eventually(two.mailbox, [newest])
    assert mailbox_of(two.homeserver, two.recipient.user_id, "HIDDEN") == []

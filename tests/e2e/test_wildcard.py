"""Notices to `*`, all devices of a user."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import PLAIN, WITHHELD
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


async def broadcast(
    two: Two, content: dict[str, Any], kind: str = WITHHELD, **others: Any
) -> dict[str, Any]:
    """Send a message to `*`, and others to single devices; return it as queued."""
    contents = {two.recipient.user_id: {"*": content, **others}}
    assert await two.sender.send_to_device(kind, contents) == 200
    return two.queued(content, kind)


@in_reactor
async def test_repeated_wildcard_notice_leaves_the_newest_one(
    two: Two, second: Client
) -> None:
    """It is always stored, and in each mailbox it makes the last one redundant."""
    async with counted(two.homeserver) as decided:
        for number in range(3):
            newest = await broadcast(two, two.notice(reason=f"copy {number}"))
        await eventually(two.mailbox, [newest])
        await eventually(lambda: mailbox(two.homeserver, second), [newest])
    assert "collapse" not in decided


@in_reactor
async def test_a_direct_notice_collapses_into_one_for_all_devices(two: Two) -> None:
    """It makes no difference how the queued one was addressed."""
    await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        for_all = await broadcast(two, two.notice(reason="all"))
        await two.send(two.notice(reason="and again"))
    await eventually(two.mailbox, [for_all])
    assert decided == {"supersede": 1, "collapse": 1}


@in_reactor
async def test_wildcard_notice_that_one_device_lacks_reaches_it(
    two: Two, second: Client
) -> None:
    """A message for all devices goes to all or none; then each keeps the newest."""
    await two.send(two.notice(reason="first"))
    newest = await broadcast(two, two.notice(reason="all"))
    await eventually(lambda: mailbox(two.homeserver, second), [newest])
    await eventually(two.mailbox, [newest])


@in_reactor
async def test_mixed_wildcard_is_what_stock_makes_of_it(
    two: Two, second: Client
) -> None:
    """Finding 3: of `{"*": …, "A": …}` stock stores A's alone; `*` never broadcasts."""
    for _ in range(3):
        await broadcast(two, two.notice(reason="all"), AWAY=two.notice())
        await eventually(two.mailbox, [two.queued(two.notice())])
        assert mailbox(two.homeserver, second) == []
    assert mailbox_of(two.homeserver, two.recipient.user_id, "*") == []


@in_reactor
async def test_wildcard_to_a_user_without_devices_is_nothing(two: Two) -> None:
    """There is no device to tell, and no failure."""
    nobody = "@nobody-here:withheld.test"
    status = await two.sender.send_to_device(WITHHELD, {nobody: {"*": two.notice()}})
    assert status == 200
    sql = "SELECT device_id FROM device_inbox WHERE user_id = ?"
    assert two.homeserver.query(sql, (nobody,)) == []


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
        newest = await broadcast(two, two.notice())
    await eventually(two.mailbox, [newest])
    assert mailbox_of(two.homeserver, two.recipient.user_id, "HIDDEN") == []


@in_reactor
async def test_wildcards_of_other_types_reach_every_device(
    two: Two, second: Client
) -> None:
    """A message that no rule names is stored for each device each time."""
    expected = [await broadcast(two, {"number": each}, PLAIN) for each in range(2)]
    assert two.mailbox() == expected
    assert mailbox(two.homeserver, second) == expected

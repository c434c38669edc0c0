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


async def broadcast(two: Two, contents: dict[str, Any]) -> int:
    """Send contents by device ID to the recipient."""
    return await two.sender.send_to_device(WITHHELD, {two.recipient.user_id: contents})


@in_reactor
async def test_repeated_wildcard_notice_leaves_the_newest_one(
    two: Two, second: Client
) -> None:
    """It is always stored, and in each mailbox it makes the last one redundant."""
    async with counted(two.homeserver) as decided:
        for number in range(3):
            notice = two.notice(reason=f"copy {number}")
            assert await broadcast(two, {"*": notice}) == 200
        newest = [two.queued(notice)]
        await eventually(two.mailbox, newest)
        await eventually(lambda: mailbox(two.homeserver, second), newest)
    assert "collapse" not in decided


@in_reactor
async def test_a_direct_notice_collapses_into_one_for_all_devices(two: Two) -> None:
    """It makes no difference how the queued one was addressed."""
    await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        assert await broadcast(two, {"*": two.notice(reason="all")}) == 200
        await two.send(two.notice(reason="and again"))
    await eventually(two.mailbox, [two.queued(two.notice(reason="all"))])
    assert decided == {"supersede": 1, "collapse": 1}


@in_reactor
async def test_wildcard_notice_that_one_device_lacks_reaches_it(
    two: Two, second: Client
) -> None:
    """A message for all devices goes to all or none; then each keeps the newest."""
    await two.send(two.notice(reason="first"))
    assert await broadcast(two, {"*": two.notice(reason="all")}) == 200
    newest = [two.queued(two.notice(reason="all"))]
    await eventually(lambda: mailbox(two.homeserver, second), newest)
    await eventually(two.mailbox, newest)


@in_reactor
async def test_mixed_wildcard_is_what_stock_makes_of_it(
    two: Two, second: Client
) -> None:
    """Finding 3: of `{"*": …, "A": …}` stock stores A's alone; `*` never broadcasts."""
    both = {"*": two.notice(reason="all"), two.recipient.device_id: two.notice()}
    queued = [two.queued(two.notice())]
    for _ in range(3):
        assert await broadcast(two, both) == 200
        await eventually(two.mailbox, queued)
        assert mailbox(two.homeserver, second) == []
    assert mailbox_of(two.homeserver, two.recipient.user_id, "*") == []


@in_reactor
async def test_wildcard_to_a_user_without_devices_is_nothing(two: Two) -> None:
    """There is no device to tell, and no failure."""
    nobody = "@nobody-here:withheld.test"
    status = await two.sender.send_to_device(WITHHELD, {nobody: {"*": two.notice()}})
    assert status == 200
    assert (
        two.homeserver.query(
            "SELECT device_id FROM device_inbox WHERE user_id = ?", (nobody,)
        )
        == []
    )


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
    contents = {"HIDDEN": two.notice(), two.recipient.device_id: two.notice()}
    for _ in range(2):
        assert await broadcast(two, contents) == 200
        assert await broadcast(two, {"*": two.notice()}) == 200
    await eventually(two.mailbox, [two.queued(two.notice())])
    assert mailbox_of(two.homeserver, two.recipient.user_id, "HIDDEN") == []


@in_reactor
async def test_wildcards_of_other_types_reach_every_device(
    two: Two, second: Client
) -> None:
    """A message that no rule names is stored for each device each time."""
    for number in range(2):
        await two.sender.send_to_device(
            PLAIN, {two.recipient.user_id: {"*": {"number": number}}}
        )
    expected = [two.queued({"number": number}, PLAIN) for number in range(2)]
    assert two.mailbox() == expected
    assert mailbox(two.homeserver, second) == expected

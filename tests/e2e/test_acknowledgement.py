"""A notice counts as unread until a sync that begins may have handed it out."""

from __future__ import annotations

from tests.harness.clients.messages import PLAIN
from tests.harness.homeservers.stage import Two
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor


@in_reactor
async def test_acknowledged_notice_is_delivered_again(two: Two) -> None:
    """With `repeat: queued` a notice that was read may be repeated."""
    first = await two.send(two.notice(reason="first"))
    assert await two.recipient.drain() == ([first], 2)
    async with counted(two.homeserver) as decided:
        second = await two.send(two.notice(reason="second"))
    assert two.mailbox() == [second]
    assert decided == {"deliver": 1}


@in_reactor
async def test_answered_but_unacknowledged_notice_is_followed_by_the_next(
    two: Two,
) -> None:
    """Its device may have read it: the next one is stored, and takes its place."""
    since = (await two.recipient.sync())["next_batch"]
    first = await two.send(two.notice())
    answered = await two.recipient.sync(since)
    assert answered["to_device"]["events"] == [first]
    async with counted(two.homeserver) as decided:
        newest = await two.send(two.notice(reason="again"))
    assert decided == {"deliver": 1}
    await eventually(two.mailbox, [newest])
    # An answer may be lost: with the old token and another timeout it is another
    # request, which no cache answers.
    repeated = await two.recipient.sync(since, timeout_ms=1)
    assert repeated["to_device"]["events"] == [newest]


@in_reactor
async def test_notice_since_the_last_sync_is_not_read(two: Two) -> None:
    """That sync acknowledged what came before it."""
    await two.send({"number": 1}, PLAIN)
    answered = await two.recipient.sync()
    await two.recipient.sync(answered["next_batch"])
    first = await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(reason="again"))
    assert two.mailbox() == [first]
    assert decided == {"collapse": 1}

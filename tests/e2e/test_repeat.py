"""`repeat`: whether what a device was given may be repeated."""

from __future__ import annotations

from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import Stage, Two, two_on
from tests.harness.waiting import eventually, pause


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
    await two.send({"number": 1}, PLAIN)
    answered = await two.recipient.sync()
    await two.recipient.sync(answered["next_batch"])
    first = await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(reason="again"))
    assert two.mailbox() == [first]
    assert decided == {"collapse": 1}


@async_fixture(scope="module")
async def holding(stage: Stage) -> Homeserver:
    return await stage.start({"repeat": "session"})


@async_fixture()
async def held(holding: Homeserver) -> Two:
    """Send a notice that the recipient reads and acknowledges."""
    two = await two_on(holding)
    await two.send(two.notice())
    received, _ = await two.recipient.drain()
    assert received == [two.queued(two.notice())]
    return two


@in_reactor
async def test_a_notice_that_was_read_is_not_repeated_but_after_an_olm_message(
    held: Two,
) -> None:
    async with counted(held.homeserver) as decided:
        for number in range(3):
            await held.send(held.notice(reason=f"again {number}"))
    assert (held.mailbox(), decided) == ([], {"collapse": 3})
    olm = await held.send(make_olm_lookalike(held.sender_key), ENCRYPTED)
    new = await held.send(held.notice(reason="new"))
    assert held.mailbox() == [olm, new]


@in_reactor
async def test_when_the_hold_is_over_it_may_be_repeated(own_stage: Stage) -> None:
    config = {"repeat": "session", "session_hold": "1s"}
    homeserver = await own_stage.start(config)
    two = await two_on(homeserver)
    await two.send(two.notice())
    await two.recipient.drain()
    await pause(1.5)
    await two.send(two.notice(reason="later"))
    assert two.mailbox() == [two.queued(two.notice(reason="later"))]

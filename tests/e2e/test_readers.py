"""Readers of a mailbox other than sync get what the rule promises each of them."""

from __future__ import annotations

from importlib.metadata import version
from re import findall
from typing import AsyncIterator

import attrs
import pytest

from tests.harness.clients.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_olm_lookalike,
)
from tests.harness.clients.readers import Bridged, Dehydrated, Messages, SlidingSync
from tests.harness.databases.mailbox import mailbox, stream_ids
from tests.harness.homeservers.bridge import SILENT, Bridge
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import Stage, Two, send
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor

DUMMY = "m.dummy"

with_sliding_sync = pytest.mark.skipif(
    [int(part) for part in findall(r"\d+", version("matrix-synapse"))][:2] < [1, 112],
    reason="this Synapse has no simplified sliding sync with to-device messages",
)


@async_yield_fixture(scope="module")
async def bridge(stage: Stage) -> AsyncIterator[Bridge]:
    """Run an application service, of one Synapse."""
    bridge = Bridge(stage.new_directory())
    await bridge.start()
    try:
        yield bridge
    finally:
        await bridge.stop()


@async_fixture(scope="module")
async def homeserver(stage: Stage, bridge: Bridge) -> Homeserver:
    """Run a Synapse on which mailboxes can be read in every way.

    In this file it takes the place of the one that other files share.
    """
    config = bridge.configuration()
    config["experimental_features"].update(
        msc2697_enabled=False, msc3575_enabled=True, msc3814_enabled=True
    )
    return await stage.start({}, config)


@with_sliding_sync
@in_reactor
async def test_sliding_sync_gives_one_notice_and_all_others_in_order(two: Two) -> None:
    """Repeats collapse while the device is away; what is between them stays."""
    expected = [two.queued(two.notice(reason="copy 0"))]
    async with counted(two.homeserver) as decided:
        for number in range(4):
            await two.send(two.notice(reason=f"copy {number}"))
            # Of another device, so that it says nothing about the notices.
            room_key = make_olm_lookalike(make_key(f"other {number}"), make_key("to"))
            await two.send(room_key, ENCRYPTED)
            expected.append(two.queued(room_key, ENCRYPTED))
    assert decided == {"deliver": 1, "collapse": 3}
    device = SlidingSync(two.recipient, limit=2)
    pages = [await device.take() for _ in range(4)]
    assert pages == [expected[:2], expected[2:4], expected[4:], []]


@with_sliding_sync
@in_reactor
async def test_notice_that_sliding_sync_acknowledged_is_delivered_again(
    two: Two,
) -> None:
    """The next `since` deletes what was taken, so the next notice says it again."""
    device = SlidingSync(two.recipient)
    for copy in ("first", "second"):
        notice = two.notice(reason=copy)
        async with counted(two.homeserver) as decided:
            await two.send(notice)
        assert decided == {"deliver": 1}
        assert await device.take() == [two.queued(notice)]
        assert len(two.mailbox()) == 1
        assert await device.take() == []
        assert two.mailbox() == []


@with_sliding_sync
@in_reactor
async def test_notice_that_sliding_sync_did_not_acknowledge_is_followed_by_the_next(
    two: Two,
) -> None:
    """Between an answer and the next `since` a repeat is stored and takes its place."""
    device = SlidingSync(two.recipient)
    await device.take()
    await two.send(two.notice(reason="first"))
    queued = [two.queued(two.notice(reason="first"))]
    assert await device.look() == queued
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(reason="again"))
    assert decided == {"deliver": 1}
    newest = [two.queued(two.notice(reason="again"))]
    await eventually(two.mailbox, newest)
    # The client asks again, since it got no answer.
    assert await device.take() == newest
    assert await device.take() == []


@with_sliding_sync
@in_reactor
async def test_notice_after_an_olm_message_reaches_a_sliding_sync(two: Two) -> None:
    """What supersedes an answered notice is given by the next request."""
    device = SlidingSync(two.recipient)
    await two.send(two.notice(reason="first"))
    assert len(await device.take()) == 1
    olm = make_olm_lookalike(two.sender_key, make_key("recipient"))
    await two.send(olm, ENCRYPTED)
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(reason="after Olm"))
    assert decided == {"supersede": 1}
    assert await device.take() == [
        two.queued(olm, ENCRYPTED),
        two.queued(two.notice(reason="after Olm")),
    ]


@in_reactor
async def test_dehydrated_device_has_the_newest_notice_and_all_others(two: Two) -> None:
    """However often and in whichever way it is read from the start."""
    device = await Dehydrated.make(two)
    expected: Messages = []
    async with counted(two.homeserver) as decided:
        for number in range(4):
            notice = await device.send(two.notice(reason=f"copy {number}"))
            expected.append(await device.send({"number": number}, DUMMY))
        expected.insert(-1, notice)
        await eventually(device.mailbox, expected)
    assert decided == {"deliver": 1, "supersede": 3}
    for older in (False, False, True, True):
        assert await device.read(older) == expected


@in_reactor
async def test_notice_after_a_reading_is_in_the_next_from_the_start(two: Two) -> None:
    """What was read is not acknowledged, and still nothing collapses against it."""
    device = await Dehydrated.make(two)
    for copy in ("first", "second"):
        async with counted(two.homeserver) as decided:
            newest = await device.send(two.notice(reason=copy))
        await eventually(device.mailbox, [newest])
        assert await device.read() == [newest]
    assert decided == {"deliver": 1}


@in_reactor
async def test_notice_superseded_between_two_pages_is_on_a_later_one(two: Two) -> None:
    """Who reads while a notice is superseded gets both, and all others once."""
    device = await Dehydrated.make(two)
    first = await device.send(two.notice(reason="first"))
    others = [await device.send({"number": number}, DUMMY) for number in range(3)]
    page, since = await device.page()
    assert page == [first, others[0]]
    newest = await device.send(two.notice(reason="second"))
    await eventually(device.mailbox, [*others, newest])
    assert await device.read(since=since) == [*others[1:], newest]


@in_reactor
async def test_notices_for_users_of_an_application_service_never_collapse(
    two: Two, bridge: Bridge
) -> None:
    """Also where it is sent nothing: no such row is ever acknowledged."""
    recipient = await bridge.register(two.homeserver, SILENT)
    async with counted(two.homeserver) as decided:
        for number in range(4):
            notice = two.notice(reason=f"copy {number}")
            newest = await send(two.sender, recipient, notice)
        await eventually(lambda: mailbox(two.homeserver, recipient), [newest])
    # Synapse may have read some: then the next is delivered, else it supersedes.
    assert sum(decided.values()) == 4
    assert "collapse" not in decided


@async_fixture()
async def bridged(two: Two, bridge: Bridge) -> Bridged:
    """Register a recipient for whom the application service, which is up, reads."""
    await bridge.recover(two.homeserver)
    await eventually(lambda: bridge.is_up(two.homeserver), True)
    recipient = await bridge.register(two.homeserver)
    return Bridged(bridge, attrs.evolve(two, recipient=recipient))


@in_reactor
async def test_bridge_is_given_each_notice_and_all_others_in_order(
    bridged: Bridged,
) -> None:
    """It may have read the notice before, so each is stored; the newest stays."""
    sent: Messages = []
    async with counted(bridged.two.homeserver) as decided:
        for number in range(4):
            sent.append(await bridged.send(bridged.two.notice(reason=f"copy {number}")))
            await eventually(bridged.received, sent)
            sent.append(await bridged.send({"number": number}, PLAIN))
            await eventually(bridged.received, sent)
        # What was read stays, but for what is superseded.
        await eventually(bridged.mailbox, [*sent[1::2][:-1], *sent[-2:]])
    assert decided == {"deliver": 4}


@in_reactor
async def test_bridge_that_answers_late_is_given_the_newest_notice_and_all_others(
    bridged: Bridged,
) -> None:
    """What is sent while a transaction is under way goes into the next."""
    bridge = bridged.bridge
    bridge.holding = True
    first = await bridged.send({"slow": "first"}, PLAIN)
    await eventually(lambda: len(bridge.waiting), 1)
    notices, others = await bridged.send_in_turn("slow")
    assert bridged.received() == []
    bridge.release()
    await eventually(lambda: bridged.received()[-1:], others[-1:])
    received = bridged.received()
    sent = [first, *(each for turn in zip(notices, others) for each in turn)]
    # Synapse may have read older notices before they went.
    assert [each for each in sent if each in received] == received
    assert [each for each in received if each["type"] == PLAIN] == [first, *others]
    assert notices[-1] in received


@in_reactor
async def test_bridge_that_was_down_is_given_the_next_notice(bridged: Bridged) -> None:
    """No notice collapses against one that the application service never gets.

    Synapse drops to-device messages for one that is down, and reads on
    (element-hq/synapse #14710).
    """
    bridge, homeserver = bridged.bridge, bridged.two.homeserver
    bridge.status = 500
    await bridged.send(bridged.two.notice(reason="first"))
    await eventually(lambda: bridge.is_up(homeserver), False)
    async with counted(homeserver) as decided:
        _, others = await bridged.send_in_turn("down")
        await bridge.recover(homeserver)
        await eventually(lambda: bridge.is_up(homeserver), True)
        newest = await bridged.send(bridged.two.notice(reason="back"))
        await eventually(lambda: bridged.received()[-1:], [newest])
    assert "collapse" not in decided
    await eventually(bridged.mailbox, [*others, newest])


@in_reactor
async def test_bridge_that_reads_late_is_given_the_newest_notice_and_all_others(
    bridged: Bridged,
) -> None:
    """What was superseded before it was read is not missed."""
    earlier = await bridged.send({"late": "before"}, PLAIN)
    await eventually(bridged.received, [earlier])
    start = bridged.position()
    notices, others = await bridged.send_in_turn("late")
    queued = [earlier, *others[:-1], notices[-1], others[-1]]
    await eventually(bridged.mailbox, queued)
    end = stream_ids(bridged.two.homeserver, bridged.two.recipient)[-1]
    await eventually(bridged.position, end)
    await eventually(lambda: bridged.received()[-1:], others[-1:])
    read = len(bridged.received())
    # As if Synapse had not come round to any of it.
    bridged.set_position(start)
    last = await bridged.send({"late": "after"}, PLAIN)
    await eventually(lambda: bridged.received()[read:], [*queued[1:], last])

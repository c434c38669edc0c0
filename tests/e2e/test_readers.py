"""Readers of a mailbox other than sync get what the rule promises each of them."""

from __future__ import annotations

from importlib.metadata import version
from re import findall
from typing import AsyncIterator

import attrs
import pytest

from tests.harness.client import DEHYDRATED, Messages, SlidingSync, dehydrated
from tests.harness.messages import PLAIN, WITHHELD, OlmDevice
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Bridge
from tests.harness.servers.stage import Stage, Two
from tests.harness.waiting import eventually

DEVICE = "DEHYDRATED"


@async_yield_fixture(scope="module")
async def bridge(stage: Stage) -> AsyncIterator[Bridge]:
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


async def send_both(two: Two, number: int) -> Messages:
    """Send a notice and another message; return them as they are queued."""
    return [
        await two.send(two.notice(number=number)),
        await two.send({"number": number}, PLAIN),
    ]


@pytest.mark.skipif(
    [int(part) for part in findall(r"\d+", version("matrix-synapse"))][:2] < [1, 112],
    reason="this Synapse has no simplified sliding sync with to-device messages",
)
@in_reactor
async def test_sliding_sync_gives_one_notice_and_all_others_in_order(two: Two) -> None:
    """After a page that nobody acknowledged, the next takes the notice's place."""
    device = SlidingSync(two.recipient, limit=2)
    await device.take()
    async with counted(two.homeserver) as decided:
        sent = [await send_both(two, number) for number in range(3)]
        assert await device.look() == sent[0]
        newest = await two.send(two.notice(reason="again"))
        left = [*(other for _, other in sent), newest]
        await eventually(two.mailbox, left)
    assert decided == {"deliver": 2, "collapse": 2}
    # The client asks again, since it got no answer.
    pages = [await device.take() for _ in range(3)]
    assert pages == [left[:2], left[2:], []]


@in_reactor
async def test_dehydrated_device_has_the_newest_notice_and_all_others(
    two: Two,
) -> None:
    """However often it is read from the start."""
    submission = dehydrated(OlmDevice(two.recipient.user_id, DEVICE), DEVICE)
    answer = await two.recipient.request("PUT", DEHYDRATED, submission)
    assert answer == (200, {"device_id": DEVICE})
    away = attrs.evolve(two, recipient=attrs.evolve(two.recipient, device_id=DEVICE))
    async with counted(away.homeserver) as decided:
        sent = [await send_both(away, number) for number in range(4)]
        expected = [*(other for _, other in sent[:-1]), *sent[-1]]
        await eventually(away.mailbox, expected)
    assert decided == {"deliver": 1, "supersede": 3}
    for _ in range(2):
        read: Messages = []
        since: dict[str, str] = {}
        for _ in range(3):
            path = f"{DEHYDRATED}/{DEVICE}/events"
            body = await two.recipient.succeed("POST", path, since, {"limit": "2"})
            read += body["events"]
            since = {"next_batch": body["next_batch"]}
        assert read == expected


@in_reactor
async def test_bridge_is_given_each_notice_and_all_others_in_order(
    two: Two, bridge: Bridge
) -> None:
    """It may have read a notice, or never get it, so each is stored; the newest stays.

    Synapse drops to-device messages for an application service that is down, and reads
    on (element-hq/synapse #14710).
    """
    two = attrs.evolve(two, recipient=await bridge.register(two.homeserver))
    await bridge.recover(two.homeserver)
    await eventually(lambda: bridge.is_up(two.homeserver), True)
    sent: Messages = []
    async with counted(two.homeserver) as decided:
        for number in range(4):
            sent += await send_both(two, number)
            await eventually(lambda: bridge.received(two.recipient), sent)
        bridge.status = 500
        await two.send(two.notice(reason="first"))
        await eventually(lambda: bridge.is_up(two.homeserver), False)
        await two.send(two.notice(reason="down"))
        await bridge.recover(two.homeserver)
        await eventually(lambda: bridge.is_up(two.homeserver), True)
        newest = await two.send(two.notice(reason="back"))
        await eventually(lambda: bridge.received(two.recipient)[-1:], [newest])
    assert decided.keys() <= {"deliver", "supersede"}
    others = [each for each in sent if each["type"] != WITHHELD]
    await eventually(two.mailbox, [*others, newest])

"""Readers of a mailbox other than sync get what the rule promises each of them."""

from __future__ import annotations

from importlib.metadata import version
from re import findall
from typing import Any, AsyncIterator

import attrs
import pytest

from tests.harness.client import (
    DEHYDRATED,
    Messages,
    SlidingSync,
    dehydrated,
)
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    OlmDevice,
    make_key,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Bridge
from tests.harness.servers.stage import Stage, Two
from tests.harness.waiting import eventually

DUMMY = "m.dummy"
DEVICE = "DEHYDRATED"

with_sliding_sync = pytest.mark.skipif(
    [int(part) for part in findall(r"\d+", version("matrix-synapse"))][:2] < [1, 112],
    reason="this Synapse has no simplified sliding sync with to-device messages",
)


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


@with_sliding_sync
@in_reactor
async def test_sliding_sync_gives_one_notice_and_all_others_in_order(two: Two) -> None:
    """Repeats collapse while the device is away; what is between them stays."""
    expected = [two.queued(two.notice(reason="copy 0"))]
    async with counted(two.homeserver) as decided:
        for number in range(4):
            await two.send(two.notice(reason=f"copy {number}"))
            # Of another device, so that it says nothing about the notices.
            room_key = make_olm_lookalike(make_key(f"other {number}"))
            expected.append(await two.send(room_key, ENCRYPTED))
    assert decided == {"deliver": 1, "collapse": 3}
    device = SlidingSync(two.recipient, limit=2)
    pages = [await device.take() for _ in range(4)]
    assert pages == [expected[:2], expected[2:4], expected[4:], []]


@with_sliding_sync
@in_reactor
async def test_notice_that_sliding_sync_did_not_acknowledge_is_followed_by_the_next(
    two: Two,
) -> None:
    """Between an answer and the next `since` a repeat is stored and takes its place."""
    device = SlidingSync(two.recipient)
    await device.take()
    first = await two.send(two.notice(reason="first"))
    assert await device.look() == [first]
    async with counted(two.homeserver) as decided:
        newest = await two.send(two.notice(reason="again"))
    assert decided == {"deliver": 1}
    await eventually(two.mailbox, [newest])
    # The client asks again, since it got no answer.
    assert await device.take() == [newest]
    assert await device.take() == []


async def read(two: Two, older: bool) -> Messages:
    """Read what the dehydrated device has, two messages a page.

    Older Synapses know only the request that the draft had before.
    """
    path = f"{DEHYDRATED}/{DEVICE}/events"
    messages: Messages = []
    since: dict[str, str] = {}
    while True:
        answer: tuple[int, Any] = (405, None)
        if not older:
            params = {"limit": "2"}
            if since:
                params["from"] = since["next_batch"]
            answer = await two.recipient.request("GET", path, params=params)
        if answer[0] == 405:
            answer = await two.recipient.request("POST", path, since, {"limit": "2"})
        status, body = answer
        assert status == 200, body
        messages += body["events"]
        if not body["events"] or "next_batch" not in body:
            return messages
        since = {"next_batch": body["next_batch"]}


@async_fixture()
async def away(two: Two) -> Two:
    """Leave a dehydrated device behind, as a client does before it goes away."""
    submission = dehydrated(OlmDevice(two.recipient.user_id, DEVICE), DEVICE)
    answer = await two.recipient.request("PUT", DEHYDRATED, submission)
    assert answer == (200, {"device_id": DEVICE})
    return attrs.evolve(two, recipient=attrs.evolve(two.recipient, device_id=DEVICE))


@in_reactor
async def test_dehydrated_device_has_the_newest_notice_and_all_others(
    away: Two,
) -> None:
    """However often and in whichever way it is read from the start."""
    expected: Messages = []
    async with counted(away.homeserver) as decided:
        for number in range(4):
            notice = await away.send(away.notice(reason=f"copy {number}"))
            expected.append(await away.send({"number": number}, DUMMY))
        expected.insert(-1, notice)
        await eventually(away.mailbox, expected)
    assert decided == {"deliver": 1, "supersede": 3}
    for older in (False, False, True, True):
        assert await read(away, older) == expected


async def bridged(two: Two, bridge: Bridge) -> Two:
    """Let the recipient be a user of an application service, which is up."""
    await bridge.recover(two.homeserver)
    await eventually(lambda: bridge.is_up(two.homeserver), True)
    return attrs.evolve(two, recipient=await bridge.register(two.homeserver))


@in_reactor
async def test_bridge_is_given_each_notice_and_all_others_in_order(
    two: Two, bridge: Bridge
) -> None:
    """It may have read the notice before, so each is stored; the newest stays."""
    two = await bridged(two, bridge)
    sent: Messages = []
    async with counted(two.homeserver) as decided:
        for number in range(4):
            for content, kind in (
                (two.notice(reason=f"copy {number}"), WITHHELD),
                ({"number": number}, PLAIN),
            ):
                sent.append(await two.send(content, kind))
                await eventually(lambda: bridge.received(two.recipient), sent)
        # What was read stays, but for what is superseded.
        await eventually(two.mailbox, [*sent[1::2][:-1], *sent[-2:]])
    assert decided == {"deliver": 4}


@in_reactor
async def test_bridge_that_was_down_is_given_the_next_notice(
    two: Two, bridge: Bridge
) -> None:
    """No notice collapses against one that the application service never gets.

    Synapse drops to-device messages for one that is down, and reads on
    (element-hq/synapse #14710).
    """
    two = await bridged(two, bridge)
    bridge.status = 500
    await two.send(two.notice(reason="first"))
    await eventually(lambda: bridge.is_up(two.homeserver), False)
    async with counted(two.homeserver) as decided:
        for number in range(3):
            await two.send(two.notice(reason=f"down {number}"))
        await bridge.recover(two.homeserver)
        await eventually(lambda: bridge.is_up(two.homeserver), True)
        newest = await two.send(two.notice(reason="back"))
        await eventually(lambda: bridge.received(two.recipient)[-1:], [newest])
    assert "collapse" not in decided
    await eventually(two.mailbox, [newest])

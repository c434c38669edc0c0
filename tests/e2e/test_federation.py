"""Messages from and to another server, in signed transactions."""

from __future__ import annotations

from importlib.metadata import version
from re import findall
from typing import Any

import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.abroad import Abroad
from tests.harness.clients.messages import (
    ENCRYPTED,
    make_key,
    make_message,
    make_olm_lookalike,
)
from tests.harness.databases.mailbox import mailbox, mailbox_of, stream_ids
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import (
    Two,
    everything_tidied,
    log_in,
)
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor

# Synapse itself drops them since then.
SPOOFS_DROPPED = [int(part) for part in findall(r"\d+", version("matrix-synapse"))][
    :3
] >= [1, 157, 2]

pytestmark = on_both_databases


@async_fixture()
async def abroad(remote: RemoteServer, two: Two) -> Abroad:
    """Play a sender on a remote server."""
    return Abroad(remote, two, remote.user("sender"), make_key(remote.server_name))


@in_reactor
async def test_rule_holds_for_notices_from_elsewhere(abroad: Abroad) -> None:
    """The first is delivered, a repeat collapses, a new key supersedes."""
    async with counted(abroad.two.homeserver) as decided:
        first = await abroad.send(abroad.notice(reason="first"))
        await abroad.send(abroad.notice(reason="again"))
        await eventually(abroad.mailbox, [first])
        newer = await abroad.send(abroad.notice(sender_key=make_key("a new key")))
        await eventually(abroad.mailbox, [newer])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 1}


@in_reactor
async def test_collapsed_edu_still_records_its_message_id(abroad: Abroad) -> None:
    """An EDU of which nothing is stored is received nevertheless: only once."""
    first = await abroad.send(abroad.notice(), message_id="stored")
    await abroad.send(abroad.notice(), message_id="collapsed")
    await eventually(abroad.received_ids, ["collapsed", "stored"])
    assert abroad.mailbox() == [first]
    # Read and acknowledged, so that a new EDU would be delivered.
    await abroad.two.recipient.drain()
    await abroad.send(abroad.notice(), message_id="collapsed")
    assert abroad.mailbox() == []


@in_reactor
async def test_repeated_edu_stores_nothing_and_deletes_nothing(abroad: Abroad) -> None:
    """Finding 1: of an EDU received before no row is written, so none is redundant."""
    first = await abroad.send(abroad.notice(), message_id="once")
    # Re-armed, so that the repeated notice would supersede if it were stored.
    olm = make_olm_lookalike(abroad.sender_key, make_key("recipient"))
    encrypted = await abroad.send(olm, ENCRYPTED)
    await eventually(abroad.mailbox, [first, encrypted])
    await nothing_comes_of_a_repeat(abroad)
    newest = await abroad.send(abroad.notice(reason="newest"))
    await eventually(abroad.mailbox, [encrypted, newest])


async def nothing_comes_of_a_repeat(abroad: Abroad) -> None:
    """Send the EDU that was sent once again; look at rows and messages."""
    before = abroad.mailbox()
    rows = stream_ids(abroad.two.homeserver, abroad.two.recipient)
    for _ in range(2):
        await abroad.send(abroad.notice(), message_id="once")
    await everything_tidied(abroad.two.homeserver)
    assert abroad.mailbox() == before
    assert stream_ids(abroad.two.homeserver, abroad.two.recipient) == rows


@in_reactor
async def test_edu_repeated_after_a_crash_deletes_nothing(
    abroad: Abroad, homeserver: Homeserver
) -> None:
    """Finding 1: the remote repeats what was stored just before the crash."""
    first = await abroad.send(abroad.notice(), message_id="once")
    await eventually(abroad.mailbox, [first])
    await homeserver.kill()
    await homeserver.start()
    await nothing_comes_of_a_repeat(abroad)
    newest = await abroad.send(abroad.notice(reason="newest"))
    await eventually(abroad.mailbox, [newest])


@pytest.mark.parametrize("victim", ["here", "elsewhere"])
@in_reactor
async def test_spoofed_senders_touch_nothing(abroad: Abroad, victim: str) -> None:
    """A server speaks for its own users; what it says for others is stock's matter."""
    two = abroad.two
    spoofed = two.sender.user_id if victim == "here" else "@sender:elsewhere.test"
    queued = [await two.send(two.notice())]
    forged = two.notice(sender_key=make_key("forged"))
    async with counted(two.homeserver) as decided:
        for content in (forged, two.notice(), forged):
            await abroad.send(content, sender=spoofed)
            olm = make_olm_lookalike(two.sender_key, make_key("recipient"))
            await abroad.send(olm, ENCRYPTED, sender=spoofed)
            if not SPOOFS_DROPPED:
                queued += [
                    make_message(spoofed, content),
                    make_message(spoofed, olm, ENCRYPTED),
                ]
        await everything_tidied(two.homeserver)
        assert abroad.mailbox() == queued
        # Neither superseded nor re-armed: the victim's own repeat still collapses.
        await two.send(two.notice())
        assert abroad.mailbox() == queued
    assert decided["collapse"] == 1


@in_reactor
async def test_notice_from_elsewhere_to_an_unknown_device_is_nothing(
    abroad: Abroad,
) -> None:
    """It is answered as any other, stored for nobody, and not remembered."""
    user_id = abroad.two.recipient.user_id
    nowhere = {user_id: {"NOWHERE": abroad.notice()}}
    async with counted(abroad.two.homeserver) as decided:
        for _ in range(2):
            await abroad.send({}, messages=nowhere)
    assert mailbox_of(abroad.two.homeserver, user_id, "NOWHERE") == []
    assert "collapse" not in decided
    assert "supersede" not in decided


@in_reactor
async def test_wildcard_from_elsewhere_leaves_one_for_each_device(
    abroad: Abroad,
) -> None:
    """A wildcard in an EDU is expanded as a local client's, and stored each time."""
    second = await log_in(abroad.two.recipient, "SECOND")
    everybody = {abroad.two.recipient.user_id: {"*": abroad.notice()}}
    for _ in range(3):
        await abroad.send({}, messages=everybody)
    one = [abroad.queued(abroad.notice())]
    await eventually(abroad.mailbox, one)
    await eventually(lambda: mailbox(abroad.two.homeserver, second), one)


@in_reactor
async def test_olm_message_from_elsewhere_rearms(abroad: Abroad) -> None:
    """After an Olm message of the remote sender, its next notice says something new."""
    await abroad.send(abroad.notice())
    olm = make_olm_lookalike(abroad.sender_key, make_key("recipient"))
    encrypted = await abroad.send(olm, ENCRYPTED)
    async with counted(abroad.two.homeserver) as decided:
        newest = await abroad.send(abroad.notice(reason="after"))
        await eventually(abroad.mailbox, [encrypted, newest])
    assert decided == {"supersede": 1}


# To another device of the remote sender, it costs one look-up, and a write.
@pytest.mark.parametrize("device_id", ["REMOTEDEV", "OTHERDEV"])
@in_reactor
async def test_olm_message_to_elsewhere_rearms(abroad: Abroad, device_id: str) -> None:
    """Finding 2: the recipient's Olm message to the remote sender is seen leaving."""
    await abroad.send(abroad.notice())
    olm = make_olm_lookalike(make_key("recipient"), make_key(device_id))
    messages = {abroad.user_id: {device_id: olm}}
    assert await abroad.two.recipient.send_to_device(ENCRYPTED, messages) == 200
    async with counted(abroad.two.homeserver) as decided:
        newest = await abroad.send(abroad.notice(reason="after"))
        await eventually(abroad.mailbox, [newest])
    assert decided == {"supersede": 1}

    def arrived() -> list[Any]:
        return [each["messages"] for each in abroad.remote.to_device()]

    await eventually(arrived, [messages])

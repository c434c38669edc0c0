"""Messages from and to another server, in signed transactions."""

from __future__ import annotations

from importlib.metadata import version
from re import findall

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
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import (
    Stage,
    Two,
    everything_tidied,
    log_in,
    two_on,
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
    new_key = abroad.notice(sender_key=make_key("a new key abroad"))
    async with counted(abroad.two.homeserver) as decided:
        await abroad.send(abroad.notice(reason="first"))
        await abroad.send(abroad.notice(reason="again"))
        await eventually(abroad.mailbox, [abroad.queued(abroad.notice(reason="first"))])
        await abroad.send(new_key)
        await eventually(abroad.mailbox, [abroad.queued(new_key)])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 1}


@in_reactor
async def test_collapsed_edu_still_records_its_message_id(abroad: Abroad) -> None:
    """An EDU of which nothing is stored is received nevertheless: only once."""
    await abroad.send(abroad.notice(), message_id="stored")
    await abroad.send(abroad.notice(), message_id="collapsed")
    await eventually(abroad.received_ids, ["collapsed", "stored"])
    assert abroad.mailbox() == [abroad.queued(abroad.notice())]
    # Read and acknowledged, so that a new EDU would be delivered.
    await abroad.two.recipient.drain()
    await abroad.send(abroad.notice(), message_id="collapsed")
    assert abroad.mailbox() == []


@in_reactor
async def test_repeated_edu_stores_nothing_and_deletes_nothing(abroad: Abroad) -> None:
    """Finding 1: of an EDU received before no row is written, so none is redundant."""
    olm = make_olm_lookalike(abroad.sender_key, make_key("recipient"))
    await abroad.send(abroad.notice(reason="only copy"), message_id="once")
    # Re-armed, so that the repeated notice would supersede if it were stored.
    await abroad.send(olm, ENCRYPTED)
    expected = [
        abroad.queued(abroad.notice(reason="only copy")),
        abroad.queued(olm, ENCRYPTED),
    ]
    await eventually(abroad.mailbox, expected)
    rows = stream_ids(abroad.two.homeserver, abroad.two.recipient)
    for _ in range(2):
        await abroad.send(abroad.notice(reason="only copy"), message_id="once")
    await everything_tidied(abroad.two.homeserver)
    assert abroad.mailbox() == expected
    assert stream_ids(abroad.two.homeserver, abroad.two.recipient) == rows
    newest = abroad.notice(reason="newest")
    await abroad.send(newest)
    await eventually(
        abroad.mailbox, [abroad.queued(olm, ENCRYPTED), abroad.queued(newest)]
    )


@in_reactor
async def test_edu_repeated_after_a_crash_deletes_nothing(
    remote: RemoteServer, own_stage: Stage
) -> None:
    """Finding 1: the remote repeats what was stored just before the crash."""
    homeserver = await own_stage.start({})
    two = await two_on(homeserver)
    abroad = Abroad(remote, two, remote.user("sender"), make_key("before the crash"))
    await abroad.send(abroad.notice(), message_id="once")
    expected = [abroad.queued(abroad.notice())]
    await eventually(abroad.mailbox, expected)
    rows = stream_ids(homeserver, two.recipient)
    await homeserver.kill()
    await homeserver.start()
    for _ in range(2):
        await abroad.send(abroad.notice(), message_id="once")
        await everything_tidied(homeserver)
        assert abroad.mailbox() == expected
        assert stream_ids(homeserver, two.recipient) == rows
    await abroad.send(abroad.notice(reason="newest"))
    await eventually(abroad.mailbox, [abroad.queued(abroad.notice(reason="newest"))])


@pytest.mark.parametrize("victim", ["here", "elsewhere"])
@in_reactor
async def test_spoofed_senders_touch_nothing(abroad: Abroad, victim: str) -> None:
    """A server speaks for its own users; what it says for others is stock's matter."""
    two = abroad.two
    spoofed = two.sender.user_id if victim == "here" else "@sender:elsewhere.test"
    await two.send(two.notice())
    queued = [two.queued(two.notice())]
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
    olm = make_olm_lookalike(abroad.sender_key, make_key("recipient"))
    await abroad.send(abroad.notice(reason="before"))
    await abroad.send(olm, ENCRYPTED)
    async with counted(abroad.two.homeserver) as decided:
        await abroad.send(abroad.notice(reason="after"))
        await eventually(
            abroad.mailbox,
            [
                abroad.queued(olm, ENCRYPTED),
                abroad.queued(abroad.notice(reason="after")),
            ],
        )
    assert decided == {"supersede": 1}


@in_reactor
async def test_olm_message_to_elsewhere_rearms(abroad: Abroad) -> None:
    """Finding 2: the recipient's Olm message to the remote sender is seen leaving."""
    two = abroad.two
    await abroad.send(abroad.notice(reason="before"))
    olm = make_olm_lookalike(make_key("recipient"), abroad.sender_key)
    status = await two.recipient.send_to_device(
        ENCRYPTED, {abroad.user_id: {"REMOTEDEV": olm}}
    )
    assert status == 200
    async with counted(two.homeserver) as decided:
        await abroad.send(abroad.notice(reason="after"))
        await eventually(abroad.mailbox, [abroad.queued(abroad.notice(reason="after"))])
    assert decided == {"supersede": 1}
    await eventually(
        lambda: [
            edu["content"]["messages"]
            for edu in abroad.remote.received
            if edu["edu_type"] == "m.direct_to_device"
        ],
        [{abroad.user_id: {"REMOTEDEV": olm}}],
    )


@in_reactor
async def test_olm_message_to_another_device_elsewhere_rearms(abroad: Abroad) -> None:
    """Of the remote sender: it costs one look-up, and the next notice a write."""
    await abroad.send(abroad.notice())
    olm = make_olm_lookalike(make_key("recipient"), make_key("another device abroad"))
    await abroad.two.recipient.send_to_device(
        ENCRYPTED, {abroad.user_id: {"OTHERDEV": olm}}
    )
    async with counted(abroad.two.homeserver) as decided:
        await abroad.send(abroad.notice(reason="again"))
        newest = [abroad.queued(abroad.notice(reason="again"))]
        await eventually(abroad.mailbox, newest)
    assert decided == {"supersede": 1}

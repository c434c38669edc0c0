"""Messages from and to another server, in signed transactions."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import attrs
import pytest
from pytest_twisted import async_fixture, ensureDeferred

from tests.harness.federation import RemoteServer
from tests.harness.mailbox import counted, mailbox, mailbox_of, stream_ids
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.polling import eventually
from tests.harness.stage import Stage, Two, everything_tidied, two_on

SPOOFS_DROPPED = tuple(
    int(number) for number in version("matrix-synapse").split(".")[:2]
) >= (1, 158)


@attrs.frozen
class Abroad:
    """A sender on another server, and a recipient here."""

    remote: RemoteServer
    two: Two
    user_id: str
    sender_key: str

    def notice(self, **more: Any) -> dict[str, Any]:
        """Return the remote sender's notice."""
        values = {"sender_key": self.sender_key, "from_device": "REMOTEDEV", **more}
        return make_notice(**values)

    def queued(self, content: dict[str, Any], kind: str = WITHHELD) -> dict[str, Any]:
        """Return the remote sender's message as stock Synapse queues it."""
        return make_message(self.user_id, content, kind)

    def mailbox(self) -> list[dict[str, Any]]:
        """Return what is queued for the recipient."""
        return mailbox(self.two.homeserver, self.two.recipient)

    async def send(
        self, content: dict[str, Any], kind: str = WITHHELD, **how: Any
    ) -> None:
        """Send a message to the recipient in an EDU, which is processed then."""
        values = {
            "sender": self.user_id,
            "message_type": kind,
            "messages": {
                self.two.recipient.user_id: {self.two.recipient.device_id: content}
            },
            **how,
        }
        answer = await self.remote.send_edu(self.two.homeserver, **values)
        assert answer == (200, {"pdus": {}})

    def received_ids(self) -> list[str]:
        """Return the message IDs that Synapse keeps of the remote's EDUs."""
        rows = self.two.homeserver.query(
            "SELECT message_id FROM device_federation_inbox WHERE origin = ?",
            (self.remote.server_name,),
        )
        return sorted(message_id for (message_id,) in rows)


@async_fixture
async def abroad(remote: RemoteServer, two: Two) -> Abroad:
    """Play a sender on a remote server."""
    return Abroad(remote, two, remote.user("sender"), make_key(remote.server_name))


@ensureDeferred
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


@ensureDeferred
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


@ensureDeferred
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


@ensureDeferred
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
@ensureDeferred
async def test_spoofed_senders_touch_nothing(abroad: Abroad, victim: str) -> None:
    """A server speaks for its own users; what it says for others is stock's matter."""
    two = abroad.two
    spoofed = two.sender.user_id if victim == "here" else "@sender:elsewhere.test"
    await two.send(two.notice())
    queued = [make_message(two.sender.user_id, two.notice())]
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
        assert await two.send(two.notice()) == 200
        assert abroad.mailbox() == queued
    assert decided["collapse"] == 1


@ensureDeferred
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


@ensureDeferred
async def test_wildcard_from_elsewhere_collapses(abroad: Abroad) -> None:
    """A wildcard in an EDU is expanded as a local client's."""
    second = await abroad.two.recipient.login(device_id="SECOND")
    everybody = {abroad.two.recipient.user_id: {"*": abroad.notice()}}
    for _ in range(3):
        await abroad.send({}, messages=everybody)
    assert abroad.mailbox() == [abroad.queued(abroad.notice())]
    assert mailbox(abroad.two.homeserver, second) == [abroad.queued(abroad.notice())]


@ensureDeferred
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


@ensureDeferred
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
        await eventually(
            abroad.mailbox, [abroad.queued(abroad.notice(reason="after"))]
        )
    assert decided == {"supersede": 1}
    await eventually(
        lambda: [
            edu["content"]["messages"]
            for edu in abroad.remote.received
            if edu["edu_type"] == "m.direct_to_device"
        ],
        [{abroad.user_id: {"REMOTEDEV": olm}}],
    )


@ensureDeferred
async def test_olm_message_to_another_key_elsewhere_does_not_rearm(
    abroad: Abroad,
) -> None:
    """An Olm message for another device of the remote sender changes nothing."""
    await abroad.send(abroad.notice())
    olm = make_olm_lookalike(make_key("recipient"), make_key("another device abroad"))
    await abroad.two.recipient.send_to_device(
        ENCRYPTED, {abroad.user_id: {"OTHERDEV": olm}}
    )
    async with counted(abroad.two.homeserver) as decided:
        await abroad.send(abroad.notice(reason="again"))
        assert abroad.mailbox() == [abroad.queued(abroad.notice())]
    assert decided == {"collapse": 1}

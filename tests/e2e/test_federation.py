"""Messages from and to another server, in signed transactions."""

from __future__ import annotations

from importlib.metadata import version
from re import findall
from typing import Any

import attrs
import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import stream_ids
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Two, everything_tidied
from tests.harness.waiting import eventually

# Synapse itself drops them since then.
SPOOFS_DROPPED = [int(part) for part in findall(r"\d+", version("matrix-synapse"))][
    :3
] >= [1, 157, 2]

pytestmark = on_both_databases


@attrs.frozen
class Abroad:
    """A sender on another server, and a recipient here."""

    remote: RemoteServer
    two: Two
    user_id: str
    key: str

    def notice(self, **more: Any) -> dict[str, Any]:
        values = {"sender_key": self.key, "from_device": "REMOTEDEV", **more}
        return make_notice(**values)

    async def send(
        self, content: dict[str, Any], kind: str = WITHHELD, **how: Any
    ) -> dict[str, Any]:
        """Send a message in an EDU; return it as stock Synapse queues it."""
        recipient = self.two.recipient
        messages = {recipient.user_id: {recipient.device_id: content}}
        sender = how.pop("sender", self.user_id)
        answer = await self.remote.send_edu(
            self.two.homeserver, sender, kind, messages, **how
        )
        assert answer == (200, {"pdus": {}})
        return make_message(sender, content, kind)

    def received_ids(self) -> list[str]:
        """Return the message IDs that Synapse keeps of the remote's EDUs."""
        rows = self.two.homeserver.query(
            "SELECT message_id FROM device_federation_inbox WHERE origin = ?",
            (self.remote.server_name,),
        )
        return sorted(message_id for (message_id,) in rows)


@async_fixture()
async def abroad(remote: RemoteServer, two: Two) -> Abroad:
    return Abroad(remote, two, remote.user("sender"), make_key(remote.server_name))


@in_reactor
async def test_rule_holds_for_notices_from_elsewhere(abroad: Abroad) -> None:
    """The first is delivered, a repeat collapses, a new key supersedes."""
    async with counted(abroad.two.homeserver) as decided:
        first = await abroad.send(abroad.notice(reason="first"))
        await abroad.send(abroad.notice(reason="again"))
        await eventually(abroad.two.mailbox, [first])
        newer = await abroad.send(abroad.notice(sender_key="a new key"))
        await eventually(abroad.two.mailbox, [newer])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 1}


@in_reactor
async def test_collapsed_edu_still_records_its_message_id(abroad: Abroad) -> None:
    """An EDU of which nothing is stored is received nevertheless: only once."""
    first = await abroad.send(abroad.notice(), message_id="stored")
    await abroad.send(abroad.notice(), message_id="collapsed")
    await eventually(abroad.received_ids, ["collapsed", "stored"])
    assert abroad.two.mailbox() == [first]
    # Read and acknowledged, so that a new EDU would be delivered.
    await abroad.two.recipient.drain()
    await abroad.send(abroad.notice(), message_id="collapsed")
    assert abroad.two.mailbox() == []


@pytest.mark.parametrize("crashes", [False, True])
@in_reactor
async def test_repeated_edu_stores_nothing_and_deletes_nothing(
    abroad: Abroad, crashes: bool
) -> None:
    """Of an EDU received before no row is written, so none is redundant."""
    two = abroad.two
    first = await abroad.send(abroad.notice(), message_id="once")
    # Re-armed, so that the repeated notice would supersede if it were stored.
    olm = make_olm_lookalike(abroad.key)
    encrypted = await abroad.send(olm, ENCRYPTED)
    await eventually(two.mailbox, [first, encrypted])
    rows = stream_ids(two.homeserver, two.recipient)
    if crashes:
        await two.homeserver.kill()
        await two.homeserver.start()
    for _ in range(2):
        await abroad.send(abroad.notice(), message_id="once")
    await everything_tidied(two.homeserver)
    assert two.mailbox() == [first, encrypted]
    assert stream_ids(two.homeserver, two.recipient) == rows
    newest = await abroad.send(abroad.notice(reason="newest"))
    await eventually(two.mailbox, [encrypted, newest])


@in_reactor
async def test_spoofed_senders_touch_nothing(abroad: Abroad) -> None:
    """A server speaks for its own users; what it says for others is stock's matter."""
    two = abroad.two
    queued = [await two.send(two.notice())]
    forged = two.notice(sender_key="forged")
    olm = make_olm_lookalike(two.sender_key)
    async with counted(two.homeserver) as decided:
        for content, kind in (
            *((forged, WITHHELD), (olm, ENCRYPTED)),
            *((two.notice(), WITHHELD), (forged, WITHHELD)),
        ):
            spoof = await abroad.send(content, kind, sender=two.sender.user_id)
            queued += [] if SPOOFS_DROPPED else [spoof]
        await everything_tidied(two.homeserver)
        assert two.mailbox() == queued
        # Neither superseded nor re-armed: the victim's own repeat still collapses.
        await two.send(two.notice())
        assert two.mailbox() == queued
    assert decided["collapse"] == 1


@in_reactor
async def test_olm_message_to_elsewhere_rearms(abroad: Abroad) -> None:
    """The recipient's to the remote sender is seen leaving."""
    two = abroad.two
    await abroad.send(abroad.notice())
    messages = {abroad.user_id: {"REMOTEDEV": make_olm_lookalike(make_key("theirs"))}}
    assert await two.recipient.send_to_device(ENCRYPTED, messages) == 200
    async with counted(two.homeserver) as decided:
        newest = await abroad.send(abroad.notice(reason="after"))
        await eventually(two.mailbox, [newest])
    assert decided == {"supersede": 1}

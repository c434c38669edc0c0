"""Messages from another server, and to one that is away, slow or back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import attrs

from tests.demo.federation import federate
from tests.e2e.conftest import on_both_databases
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_message,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture
from tests.harness.samples import counted
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.homeserver import Homeserver, stream_ids
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Two, everything_tidied
from tests.harness.waiting import eventually


@attrs.frozen
class Abroad:
    """A sender on another server, and a recipient here."""

    remote: RemoteServer
    two: Two
    user_id: str

    async def send(self, content: Any, kind: str = WITHHELD, edu: str = "") -> Any:
        """Send a message in an EDU; return it as stock Synapse queues it."""
        recipient = self.two.recipient
        messages = {recipient.user_id: {recipient.device_id: content}}
        answer = await self.remote.send_edu(
            self.two.homeserver, self.user_id, kind, messages, edu or None
        )
        assert answer == (200, {"pdus": {}})
        return make_message(self.user_id, content, kind)


@async_fixture()
async def abroad(remote: RemoteServer, two: Two) -> Abroad:
    return Abroad(remote, two, remote.user("sender"))


@on_both_databases
async def test_rule_holds_for_notices_from_elsewhere(abroad: Abroad) -> None:
    """And an Olm message of the recipient to the remote sender is seen leaving."""
    two = abroad.two
    async with counted(two.homeserver) as decided:
        first = await abroad.send(two.notice(reason="first"))
        await abroad.send(two.notice(reason="again"))
        await eventually(two.mailbox, [first])
        newer = await abroad.send(two.notice(sender_key="a new key"))
        await eventually(two.mailbox, [newer])
        olm = {abroad.user_id: {"THERE": make_olm_lookalike(make_key("theirs"))}}
        assert await two.recipient.send_to_device(ENCRYPTED, olm) == 200
        newest = await abroad.send(two.notice(sender_key="a new key", reason="new"))
        await eventually(two.mailbox, [newest])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 2}


@on_both_databases
async def test_repeated_edu_stores_nothing_and_deletes_nothing(abroad: Abroad) -> None:
    """Of an EDU received before, collapsed or not, no row is written."""
    two = abroad.two
    first = await abroad.send(two.notice(), edu="stored")
    await abroad.send(two.notice(), edu="collapsed")
    sql = "SELECT COUNT(*) FROM device_federation_inbox WHERE origin = ?"
    origin = (abroad.remote.server_name,)
    await eventually(lambda: two.homeserver.query(sql, origin), [(2,)])
    # Re-armed, so that a repeated notice would supersede if it were stored.
    encrypted = await abroad.send(make_olm_lookalike(two.sender_key), ENCRYPTED)
    await eventually(two.mailbox, [first, encrypted])
    rows = stream_ids(two.homeserver, two.recipient)
    for crashes in (False, True):
        if crashes:
            await two.homeserver.kill()
            await two.homeserver.start()
        for received in ("stored", "collapsed"):
            await abroad.send(two.notice(), edu=received)
        await everything_tidied(two.homeserver)
        assert two.mailbox() == [first, encrypted]
        assert stream_ids(two.homeserver, two.recipient) == rows
    newest = await abroad.send(two.notice(reason="newest"))
    await eventually(two.mailbox, [encrypted, newest])


@async_fixture()
async def outward(homeserver: Homeserver, remote: RemoteServer) -> Outward:
    return await outward_from(homeserver, remote)


@on_both_databases
async def test_a_server_that_was_away_gets_one_notice(outward: Outward) -> None:
    """After a crash the newest: nobody watched what waits."""
    numbers = [{"number": number} for number in range(3)]
    first = outward.notice(reason=f"copy {numbers[0]}")
    async with counted(outward.homeserver, queue="outbox") as decided:
        for number in numbers:
            await outward.send(outward.notice(reason=f"copy {number}"))
            await outward.send(number, kind=PLAIN)
            both = {outward.recipient.user_id: dict.fromkeys("AB", outward.notice())}
            assert await outward.sender.send_to_device(WITHHELD, both) == 200
    left = [
        {"A": numbers[0]},
        {"B": outward.notice()},
        {"A": numbers[1]},
        {"A": numbers[2]},
    ]
    assert outward.outbox() == [{"A": first}, *left]
    assert decided == {"deliver": 2, "collapse": 7}

    await outward.homeserver.kill()
    await outward.homeserver.start()
    newest = outward.notice(reason="after")
    await outward.send(newest)
    await eventually(outward.outbox, [*left, {"A": newest}])
    await outward.send(outward.notice(reason="again"))

    await outward.return_of_the_other()
    assert outward.received() == [*left, {"A": newest}]


@on_both_databases
async def test_what_is_being_sent_is_neither_lost_nor_doubled(outward: Outward) -> None:
    """The row goes while its transmission is under way; its successor follows."""
    outward.remote.refuses, outward.remote.holds = False, True
    first = {"A": outward.notice(reason="on its way")}
    await outward.send(first["A"])
    await eventually(outward.received, [first])
    await outward.send(outward.notice(reason="a duplicate"))
    newer = outward.notice(sender_key="newer")
    await outward.send(newer)
    await outward.send({"number": 1}, kind=PLAIN)
    left = [{"A": newer}, {"A": {"number": 1}}]
    await eventually(outward.outbox, left)
    outward.remote.answer()
    await eventually(lambda: len(outward.outbox()), 0)
    assert outward.received() == [first, *left]


async def test_two_servers_get_what_the_model_says(
    new_directory: Callable[[], Path],
) -> None:
    """On either, both or none; every other message byte for byte as without it."""
    _, troubles = await federate(new_directory())
    assert {} == {fact: trouble for fact, trouble in troubles.items() if trouble}

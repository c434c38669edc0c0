"""Messages from another server, and to one that is away, slow or back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, AsyncIterator, Callable

import attrs

from tests.demo.federation import federate
from tests.e2e.conftest import on_both_databases
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor
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
    key: str

    def notice(self, **more: Any) -> dict[str, Any]:
        values = {"sender_key": self.key, "from_device": "REMOTEDEV", **more}
        return make_notice(**values)

    async def send(
        self,
        content: dict[str, Any],
        kind: str = WITHHELD,
        message_id: str | None = None,
    ) -> dict[str, Any]:
        """Send a message in an EDU; return it as stock Synapse queues it."""
        recipient = self.two.recipient
        messages = {recipient.user_id: {recipient.device_id: content}}
        answer = await self.remote.send_edu(
            self.two.homeserver, self.user_id, kind, messages, message_id
        )
        assert answer == (200, {"pdus": {}})
        return make_message(self.user_id, content, kind)


@async_fixture()
async def abroad(remote: RemoteServer, two: Two) -> Abroad:
    return Abroad(remote, two, remote.user("sender"), make_key(remote.server_name))


@on_both_databases
@in_reactor
async def test_rule_holds_for_notices_from_elsewhere(abroad: Abroad) -> None:
    """And an Olm message of the recipient to the remote sender is seen leaving."""
    two = abroad.two
    async with counted(two.homeserver) as decided:
        first = await abroad.send(abroad.notice(reason="first"))
        await abroad.send(abroad.notice(reason="again"))
        await eventually(two.mailbox, [first])
        newer = await abroad.send(abroad.notice(sender_key="a new key"))
        await eventually(two.mailbox, [newer])
        olm = {abroad.user_id: {"REMOTEDEV": make_olm_lookalike(make_key("theirs"))}}
        assert await two.recipient.send_to_device(ENCRYPTED, olm) == 200
        newest = await abroad.send(abroad.notice(sender_key="a new key", reason="new"))
        await eventually(two.mailbox, [newest])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 2}


@on_both_databases
@in_reactor
async def test_collapsed_edu_still_records_its_message_id(abroad: Abroad) -> None:
    """An EDU of which nothing is stored is received nevertheless: only once."""

    def received_ids() -> list[str]:
        rows = abroad.two.homeserver.query(
            "SELECT message_id FROM device_federation_inbox WHERE origin = ?",
            (abroad.remote.server_name,),
        )
        return sorted(message_id for (message_id,) in rows)

    first = await abroad.send(abroad.notice(), message_id="stored")
    await abroad.send(abroad.notice(), message_id="collapsed")
    await eventually(received_ids, ["collapsed", "stored"])
    assert abroad.two.mailbox() == [first]
    # Read and acknowledged, so that a new EDU would be delivered.
    await abroad.two.recipient.drain()
    await abroad.send(abroad.notice(), message_id="collapsed")
    assert abroad.two.mailbox() == []


@on_both_databases
@in_reactor
async def test_repeated_edu_stores_nothing_and_deletes_nothing(abroad: Abroad) -> None:
    """Of an EDU received before no row is written, so none is redundant."""
    two = abroad.two
    first = await abroad.send(abroad.notice(), message_id="once")
    # Re-armed, so that the repeated notice would supersede if it were stored.
    encrypted = await abroad.send(make_olm_lookalike(abroad.key), ENCRYPTED)
    await eventually(two.mailbox, [first, encrypted])
    rows = stream_ids(two.homeserver, two.recipient)
    for crashes in (False, True):
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


@async_yield_fixture()
async def outward(
    homeserver: Homeserver, remote: RemoteServer
) -> AsyncIterator[Outward]:
    yield await outward_from(homeserver, remote)
    remote.answer()


@on_both_databases
@in_reactor
async def test_a_server_that_was_away_gets_one_notice_per_pair(
    outward: Outward,
) -> None:
    numbers = [{"number": number} for number in range(3)]
    first = outward.notice(reason=f"copy {numbers[0]}")
    async with counted(outward.homeserver, queue="outbox") as decided:
        for number in numbers:
            await outward.send(outward.notice(reason=f"copy {number}"))
            await outward.send(number, kind=PLAIN)
            await outward.send(outward.notice(), "A", "B")
    expected = [
        {"A": first},
        {"A": numbers[0]},
        {"B": outward.notice()},
        {"A": numbers[1]},
        {"A": numbers[2]},
    ]
    assert outward.outbox() == expected
    assert decided == {"deliver": 2, "collapse": 7}

    await outward.return_of_the_other()

    assert outward.received() == expected


@on_both_databases
@in_reactor
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


@on_both_databases
@in_reactor
async def test_after_a_crash_the_newest_stays(outward: Outward) -> None:
    """Nobody watched what waits, so the next notice supersedes it."""
    await outward.send(outward.notice(reason="before"))
    await outward.send({"number": 1}, kind=PLAIN)
    await outward.homeserver.kill()
    await outward.homeserver.start()
    await outward.send(outward.notice(reason="after"))
    expected = [{"A": {"number": 1}}, {"A": outward.notice(reason="after")}]
    await eventually(outward.outbox, expected)
    await outward.send(outward.notice(reason="again"))
    assert outward.outbox() == expected


@in_reactor
async def test_of_two_servers_with_the_module_each_gets_what_the_model_says(
    new_directory: Callable[[], Path],
) -> None:
    """On either, both or none; every other message byte for byte as without it."""
    outcome = await federate(new_directory())
    failed = [each.verdict for each in outcome.checks if not each.holds]
    assert failed == []

"""Messages from another server, and to one that is away, slow or back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from pytest_twisted import async_fixture

from tests.demo.federation import federate
from tests.e2e.conftest import on_both_databases
from tests.e2e.test_sweep import told
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_message,
    make_olm_lookalike,
)
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.homeserver import Homeserver, federating, running
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Two, everything_tidied, send
from tests.harness.waiting import eventually, together

CLIENT = "/_matrix/client/v3"


async def arrive(
    remote: RemoteServer, two: Two, content: Any, kind: str = WITHHELD, edu: str = ""
) -> Any:
    """Send a message from there in an EDU; return it as stock Synapse queues it."""
    recipient, sender = two.recipient, remote.user("sender")
    messages = {recipient.user_id: {recipient.device_id: content}}
    answer = await remote.send_edu(two.homeserver, sender, kind, messages, edu or None)
    assert answer == (200, {"pdus": {}})
    return make_message(sender, content, kind)


@on_both_databases
async def test_rule_holds_for_notices_from_elsewhere(
    remote: RemoteServer, two: Two
) -> None:
    """And an Olm message of the recipient to the remote sender is seen leaving."""
    async with two.homeserver.counted() as decided:
        first = await arrive(remote, two, two.notice(reason="first"))
        await arrive(remote, two, two.notice(reason="again"))
        await eventually(two.mailbox, [first])
        newer = await arrive(remote, two, two.notice(sender_key="a new key"))
        await eventually(two.mailbox, [newer])
        olm = {remote.user("sender"): {"THERE": make_olm_lookalike(make_key("theirs"))}}
        assert await two.recipient.send_to_device(ENCRYPTED, olm) == 200
        last = two.notice(sender_key="a new key", reason="new")
        newest = await arrive(remote, two, last)
        await eventually(two.mailbox, [newest])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 2}


@on_both_databases
async def test_repeated_edu_stores_nothing_and_deletes_nothing(
    remote: RemoteServer, two: Two
) -> None:
    """Of an EDU received before, collapsed or not, no row is written."""
    homeserver, edus = two.homeserver, ("stored", "collapsed")
    first, _ = [await arrive(remote, two, two.notice(), edu=each) for each in edus]
    sql = "SELECT COUNT(*) FROM device_federation_inbox WHERE origin = ?"
    origin = (remote.server_name,)
    await eventually(lambda: homeserver.query(sql, origin), [(2,)])
    # Re-armed, so that a repeated notice would supersede if it were stored.
    olm = await arrive(remote, two, make_olm_lookalike(two.sender_key), ENCRYPTED)
    await eventually(two.mailbox, [first, olm])
    rows = homeserver.rows(two.recipient)
    for crashes in (False, True):
        if crashes:
            await homeserver.kill()
            await homeserver.start()
        for received in edus:
            await arrive(remote, two, two.notice(), edu=received)
        await everything_tidied(homeserver)
        assert homeserver.rows(two.recipient) == rows
    newest = await arrive(remote, two, two.notice(reason="newest"))
    await eventually(two.mailbox, [olm, newest])


@async_fixture()
async def outward(homeserver: Homeserver, remote: RemoteServer) -> Outward:
    return await outward_from(homeserver, remote)


@on_both_databases
async def test_a_server_that_was_away_gets_one_notice(outward: Outward) -> None:
    """After a crash the newest: nobody watched what waits."""
    numbers = [{"number": number} for number in range(3)]
    first = outward.notice(reason=f"copy {numbers[0]}")
    async with outward.homeserver.counted(queue="outbox") as decided:
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


async def test_requests_of_gone_devices_go(new_directory: Callable[[], Path]) -> None:
    """One on another server: what is known of it is what was announced."""
    home = federating(new_directory(), {"rules": {"key_requests": True}})
    abroad = federating(new_directory())

    def listed() -> list[str]:
        sql = "SELECT device_id FROM device_lists_remote_cache ORDER BY device_id"
        return [device_id for (device_id,) in home.query(sql)]

    async with running(home, abroad):
        recipient = await home.register("recipient")
        stays = await abroad.register("asker", device_id="STAYS")
        goes = await stays.log_in("GOES")
        await together(stays.upload_keys(), goes.upload_keys())
        # They share a room, so that one follows the other's devices.
        invitation = {"invite": [recipient.user_id], "preset": "private_chat"}
        room = await stays.succeed("POST", f"{CLIENT}/createRoom", invitation)
        join = f"{CLIENT}/join/{room['room_id']}?server_name={abroad.server_name}"
        await recipient.succeed("POST", join, {})
        query: Any = {"device_keys": {stays.user_id: []}}
        await recipient.succeed("POST", f"{CLIENT}/keys/query", query)
        await eventually(listed, ["GOES", "STAYS"])
        requests = []
        for each in (goes, stays):
            asks = {"action": "request", "request_id": "1"}
            asks["requesting_device_id"] = each.device_id
            requests.append(await send(each, recipient, asks, "m.room_key_request"))
        await eventually(lambda: home.mailbox(recipient), requests)
        assert told(home, "sweep --dry-run")["redundant"] == 0
        await goes.succeed("POST", f"{CLIENT}/logout", {})
        await eventually(listed, ["STAYS"])
        done = told(home, "sweep --enforce")
        assert done["rules"]["key_requests"]["deleted"] == 1
        assert home.mailbox(recipient) == requests[1:]


async def test_two_servers_get_what_the_model_says(
    new_directory: Callable[[], Path],
) -> None:
    """On either, both or none; every other message byte for byte as without it."""
    _, troubles = await federate(new_directory())
    assert {} == {fact: trouble for fact, trouble in troubles.items() if trouble}

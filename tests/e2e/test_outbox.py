"""Notices for another server, which is away, slow or back again."""

from __future__ import annotations

from typing import AsyncIterator

import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_olm_lookalike,
)
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import NewDatabase, Shelf
from tests.harness.waiting import eventually, until

pytestmark = on_both_databases


@async_yield_fixture()
async def outward(
    homeserver: Homeserver, remote: RemoteServer
) -> AsyncIterator[Outward]:
    yield await outward_from(homeserver, remote)
    remote.answer()


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


@in_reactor
async def test_a_new_key_supersedes_what_waits_alone(outward: Outward) -> None:
    """An EDU that holds more is left alone."""
    newer = outward.notice(sender_key="newer")
    await outward.send(outward.notice())
    await outward.send(newer)
    await eventually(outward.outbox, [{"A": newer}])
    await outward.send(outward.notice(), "C", "D")
    await outward.send(newer, "C")
    both = {"C": outward.notice(), "D": outward.notice()}
    await eventually(outward.outbox, [{"A": newer}, both, {"C": newer}])


@in_reactor
@pytest.mark.parametrize("direction", ["to_recipient", "to_sender"])
async def test_an_olm_message_rearms_what_waits(
    outward: Outward, direction: str
) -> None:
    """To the device, or from the user: the next notice says something new."""
    await outward.send(outward.notice())
    if direction == "to_recipient":
        olm = make_olm_lookalike(outward.sender_key)
        await outward.send(olm, kind=ENCRYPTED)
        between = [{"A": olm}]
    else:
        olm = make_olm_lookalike(make_key("theirs"), outward.sender_key)
        device = {outward.sender.user_id: {"SENDERDEV": olm}}
        await outward.remote.send_edu(
            outward.homeserver, outward.recipient, ENCRYPTED, device
        )
        await until(outward.sender.sync, lambda body: "to_device" in body)
        between = []
    await outward.send(outward.notice(reason="new"))
    await eventually(outward.outbox, [*between, {"A": outward.notice(reason="new")}])


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
async def test_with_the_outbox_switched_off_every_copy_is_sent(
    shelf: Shelf, new_database: NewDatabase, remote: RemoteServer
) -> None:
    homeserver = await shelf.homeserver(new_database, {"outbox": False})
    outward = await outward_from(homeserver, remote)
    for _ in range(3):
        await outward.send(outward.notice())
    assert outward.outbox() == [{"A": outward.notice()}] * 3

"""Notices for another server, which is away, slow or back again."""

from __future__ import annotations

from typing import Any, AsyncIterator

import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_olm_lookalike,
)
from tests.harness.clients.outward import NOTHING, Outward, outward_from
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import Stage
from tests.harness.metrics.samples import DECISIONS, total
from tests.harness.polling import eventually, pause
from tests.harness.reactor import async_yield_fixture, in_reactor

pytestmark = on_both_databases


@async_yield_fixture()
async def outward(
    homeserver: Homeserver, remote: RemoteServer
) -> AsyncIterator[Outward]:
    """Play a server that is away."""
    yield await outward_from(homeserver, remote)
    remote.answer()


async def decided(homeserver: Homeserver) -> dict[str, int]:
    """Return how many decisions of each kind were made about the outbox."""
    metrics = await homeserver.metrics()
    return {
        decision: int(total(metrics, DECISIONS, decision=decision, queue="outbox"))
        for decision in ("deliver", "collapse", "supersede")
    }


@in_reactor
async def test_a_server_that_was_away_gets_one_notice_per_pair(
    outward: Outward,
) -> None:
    """And every other message, in order."""
    before = await decided(outward.homeserver)
    numbers = [{"number": number} for number in range(3)]
    for number in numbers:
        await outward.send(outward.notice(reason=f"copy {number}"))
        await outward.send(number, kind=PLAIN)
        await outward.send(outward.notice(), "A", "B")
    first = outward.notice(reason=f"copy {numbers[0]}")
    expected = [
        {"A": first},
        {"A": numbers[0]},
        {"B": outward.notice()},
        {"A": numbers[1]},
        {"A": numbers[2]},
    ]
    assert outward.outbox() == expected

    await outward.return_of_the_other()

    assert outward.received() == expected
    after = await decided(outward.homeserver)
    made = {key: after[key] - before[key] for key in after}
    assert made == {"deliver": 2, "collapse": 7, "supersede": 0}


@in_reactor
async def test_a_sent_notice_is_sent_again(outward: Outward) -> None:
    """With `repeat: queued` a notice that left the outbox may be repeated."""
    outward.remote.refuses = False
    for number in (1, 2):
        await outward.send(outward.notice())
        await eventually(lambda: len(outward.received()), number)
        await eventually(outward.outbox, NOTHING)


@in_reactor
async def test_a_new_key_supersedes_what_waits_alone(outward: Outward) -> None:
    """An EDU that holds more is left alone."""
    await outward.send(outward.notice())
    newer = outward.notice(sender_key=make_key("newer"))
    await outward.send(newer)
    await eventually(outward.outbox, [{"A": newer}])
    await outward.send(newer, "A", "B")
    await eventually(outward.outbox, [{"A": newer}, {"B": newer}])
    await outward.send(outward.notice(), "C", "D")
    await outward.send(newer, "C")
    expected = [
        {"A": newer},
        {"B": newer},
        {"C": outward.notice(), "D": outward.notice()},
        {"C": newer},
    ]
    await eventually(outward.outbox, expected)

    await outward.return_of_the_other()
    assert outward.received() == expected


@in_reactor
@pytest.mark.parametrize("direction", ["to_recipient", "to_sender"])
async def test_an_olm_message_rearms_what_waits(
    outward: Outward, direction: str
) -> None:
    """To the device, or from the user: the next notice says something new."""
    await outward.send(outward.notice())
    await outward.send({"number": 1}, kind=PLAIN)
    if direction == "to_recipient":
        olm = make_olm_lookalike(outward.sender_key, make_key("theirs"))
        await outward.send(olm, kind=ENCRYPTED)
        between = [{"A": {"number": 1}}, {"A": olm}]
    else:
        olm = make_olm_lookalike(make_key("theirs"), outward.sender_key)
        device = {outward.sender.user_id: {"SENDERDEV": olm}}
        answer = await outward.remote.send_edu(
            outward.homeserver, outward.recipient, ENCRYPTED, device
        )
        assert answer[0] == 200
        await eventually_received(outward, olm)
        between = [{"A": {"number": 1}}]
    await outward.send(outward.notice(reason="new"))
    await eventually(outward.outbox, [*between, {"A": outward.notice(reason="new")}])


async def eventually_received(outward: Outward, content: dict[str, Any]) -> None:
    """Wait until the sender has been given a message."""
    for _ in range(100):
        body = await outward.sender.sync()
        if content in [each["content"] for each in body["to_device"]["events"]]:
            return
        await pause()
    raise AssertionError("it did not arrive")


@in_reactor
async def test_what_is_being_sent_is_neither_lost_nor_doubled(outward: Outward) -> None:
    """The row goes while its transmission is under way; its successor follows."""
    outward.remote.refuses, outward.remote.holds = False, True
    await outward.send(outward.notice(reason="on its way"))
    await eventually(outward.received, [{"A": outward.notice(reason="on its way")}])
    await outward.send(outward.notice(reason="a duplicate"))
    newer = outward.notice(sender_key=make_key("newer"))
    await outward.send(newer)
    await outward.send({"number": 1}, kind=PLAIN)
    await eventually(outward.outbox, [{"A": newer}, {"A": {"number": 1}}])

    outward.remote.answer()

    await eventually(outward.outbox, NOTHING)
    assert outward.received() == [
        {"A": outward.notice(reason="on its way")},
        {"A": newer},
        {"A": {"number": 1}},
    ]


@in_reactor
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_after_a_restart_the_newest_stays(outward: Outward, how: str) -> None:
    """Nobody watched what waits, so the next notice supersedes it."""
    await outward.send(outward.notice(reason="before"))
    await outward.send({"number": 1}, kind=PLAIN)
    await getattr(outward.homeserver, how)()
    await outward.homeserver.start()
    await outward.send(outward.notice(reason="after"))
    expected = [{"A": {"number": 1}}, {"A": outward.notice(reason="after")}]
    await eventually(outward.outbox, expected)
    await outward.send(outward.notice(reason="again"))

    await outward.return_of_the_other()
    assert outward.received() == expected


@in_reactor
async def test_with_the_outbox_switched_off_every_copy_is_sent(
    own_stage: Stage, remote: RemoteServer
) -> None:
    """`outbox: false`."""
    homeserver = await own_stage.start({"outbox": False})
    outward = await outward_from(homeserver, remote)
    for _ in range(3):
        await outward.send(outward.notice())

    assert outward.outbox() == [{"A": outward.notice()}] * 3

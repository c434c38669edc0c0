"""Two Synapses that federate: what waits, and what is left after one was away."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, AsyncIterator, Callable

import pytest

from tests.demo.checks import Check, copies, newest_of_each_pair, pair_of
from tests.demo.federation.checks import (
    Crossed,
    expected_rows,
    lanes,
    left_otherwise,
    others,
    synced_otherwise,
    waited_otherwise,
)
from tests.demo.federation.people import CALL_EVERY_S, DELIVERED_WITHIN_S, Link
from tests.demo.federation.reference import (
    PLACEMENTS,
    RESTART,
    Placement,
    mailbox,
    outbox,
)
from tests.demo.federation.servers import Quartet, cross, quartet
from tests.demo.federation.traffic import (
    FRIEND,
    NEIGHBOUR,
    OTHER,
    SENDERS,
    Request,
    make_crossing,
)
from tests.demo.output.progress import Progress
from tests.demo.traffic import AWAY
from tests.harness.homeservers.stage import RUNNING
from tests.harness.polling import become, eventually
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor
from tests.harness.together import together

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.homeservers.stage import NewDatabase

# More than Synapse puts into one transaction.
CROSSING = make_crossing(rounds=14)
# So many that the receiver is in the middle of them for a while.
FLOOD = tuple(Request(FRIEND, OTHER, {AWAY: {"number": n}}) for n in range(120))

each_placement = pytest.mark.parametrize(
    "placement", PLACEMENTS, ids=lambda placement: placement.name
)


@async_yield_fixture(scope="module")
async def four(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> AsyncIterator[Quartet]:
    """Run two servers that send and two that receive, of each one with the module."""
    async with quartet(new_directory(), new_database) as four:
        RUNNING.extend(four.homeservers)
        try:
            yield four
        finally:
            for homeserver in four.homeservers:
                RUNNING.remove(homeserver)


@async_fixture(scope="module")
async def crossed(four: Quartet) -> dict[Placement, Crossed]:
    """Send the same in all placements, the receivers being away meanwhile."""
    outcomes = await cross(four, CROSSING, Progress(io.StringIO()))
    return {one.placement: one for one in outcomes}


@each_placement
def test_outbox_is_that_of_the_model(
    crossed: dict[Placement, Crossed], placement: Placement
) -> None:
    """With the module on the sender, only what says something new waits."""
    expected = outbox(CROSSING.away, placement)
    assert waited_otherwise(crossed[placement].waited, expected) == ""


@each_placement
def test_mailboxes_are_those_of_the_model(
    crossed: dict[Placement, Crossed], placement: Placement
) -> None:
    """With the module on the receiver, one notice of each pair; else, what came."""
    expected = expected_rows(CROSSING, placement)
    assert left_otherwise(crossed[placement].mailboxes, expected) == ""


@each_placement
def test_other_messages_are_those_of_stock_synapse(
    crossed: dict[Placement, Crossed], placement: Placement
) -> None:
    """Byte for byte, and each sender's in the order in which they were sent."""
    stock = crossed[PLACEMENTS[0]]
    assert lanes(crossed[placement].mailboxes, others) == lanes(stock.mailboxes, others)


@each_placement
def test_recipient_gets_all_that_is_queued(
    crossed: dict[Placement, Crossed], placement: Placement
) -> None:
    """What is in the mailbox comes with the next syncs, in its order."""
    assert synced_otherwise(crossed[placement]) == ""


@each_placement
def test_nothing_fails_between_servers(
    crossed: dict[Placement, Crossed], placement: Placement
) -> None:
    """Every request is answered 200, and the modules act without failures."""
    one = crossed[placement]
    assert (one.failed, one.failures) == (0, 0)
    assert one.active == placement.sender + placement.receiver


def test_module_on_the_receiver_leaves_one_notice_of_each_pair(
    crossed: dict[Placement, Crossed],
) -> None:
    """Whether or not the sender has collapsed any."""
    left = {
        (placement.name, device): copies(rows)
        for placement, one in crossed.items()
        if placement.receiver
        for device, rows in one.mailboxes.items()
    }
    assert {place: many for place, many in left.items() if many} == {}


@in_reactor
async def test_nothing_is_lost_when_all_servers_are_interrupted(four: Quartet) -> None:
    """The sender restarts while EDUs wait; the receivers die while they arrive.

    What waited is read again: its notices are superseded, not joined by others.
    """
    to_stock, to_module = PLACEMENTS[1], PLACEMENTS[3]
    links = await together(*(four.link(each) for each in (to_stock, to_module)))
    await together(*(one.receiver.kill() for one in links))
    half = len(CROSSING.away) // 2
    first, second = CROSSING.away[:half], (*CROSSING.away[half:], *FLOOD)
    await together(*(one.send(first) for one in links))
    await four.senders[True].restart()
    await together(*(one.send(second) for one in links))
    waits = outbox([*first, RESTART, *second], to_stock)
    for one in links:
        await eventually(partial(unlike, one, waits), "")
    await together(*(die_while_receiving(one) for one in links))
    await together(*(one.receiver.start() for one in links))
    await together(*(one.return_of_receiver() for one in links))
    assert [one.failed for one in links] == [0, 0]
    assert left_otherwise(links[0].mailboxes(), mailbox(waits, to_stock)) == ""
    # Of the module it depends on the moment of death which copies it kept.
    await eventually(partial(trouble, links[1], [*first, *second]), "")


def unlike(one: Link, expected: tuple[Request, ...]) -> str:
    """Return how what waits differs from what is expected; empty if nowhere."""
    return waited_otherwise(one.waiting(), expected)


async def die_while_receiving(one: Link) -> None:
    """Start the receiver, and kill it when some have arrived and others wait."""
    await one.receiver.start()
    await one.call(NEIGHBOUR, SENDERS[0])
    for _ in range(int(DELIVERED_WITHIN_S / CALL_EVERY_S)):
        if await become(lambda: one.mailboxes()[AWAY] != (), CALL_EVERY_S):
            break
        # As in `Link.delivered`: what waits may need another for the same server.
        await one.call(SENDERS[0], NEIGHBOUR)
    assert one.mailboxes()[AWAY] != ()
    await one.receiver.kill()


def trouble(one: Link, sent: list[Request]) -> str:
    """Return what does not hold whenever a receiver with the module was killed."""
    mailboxes = one.mailboxes()
    keys = {
        device: {
            pair_of(each.sender, each.message_type, content): content["sender_key"]
            for each in sent
            for name, content in each.messages.items()
            if name == device and content.get("code")
        }
        for device in mailboxes
    }
    everything = mailbox(sent, PLACEMENTS[0])
    rest = [each for each in everything if "reason" not in str(each.messages)]
    found = {device: tuple(filter(others, rows)) for device, rows in mailboxes.items()}
    # Of what was found after the death, one of each key may be left.
    checks = [
        newest_of_each_pair(mailboxes, keys),
        Check("others are there", left_otherwise(found, rest)),
    ]
    return "\n".join(check.verdict for check in checks if not check.holds)

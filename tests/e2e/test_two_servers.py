"""Two Synapses that federate, with the module or without: what waits, what is left."""

from __future__ import annotations

import io
from pathlib import Path
from typing import AsyncIterator, Callable

import pytest

from tests.demo.checks import copies
from tests.demo.federation.checks import (
    Crossed,
    expected_rows,
    lanes,
    left_otherwise,
    others,
    synced_otherwise,
    waited_otherwise,
)
from tests.demo.federation.reference import (
    PLACEMENTS,
    Placement,
    outbox,
)
from tests.demo.federation.servers import Quartet, cross, quartet
from tests.demo.federation.traffic import (
    make_crossing,
)
from tests.demo.output.progress import Progress
from tests.harness.homeservers.stage import NewDatabase
from tests.harness.reactor import async_fixture, async_yield_fixture

# More than Synapse puts into one transaction.
CROSSING = make_crossing(rounds=14)


@async_yield_fixture(scope="module")
async def four(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> AsyncIterator[Quartet]:
    """Run two servers that send and two that receive, of each one with the module."""
    async with quartet(new_directory(), new_database) as four:
        yield four


@async_fixture(scope="module")
async def crossed(four: Quartet) -> dict[Placement, Crossed]:
    """Send the same in all placements, the receivers being away meanwhile."""
    outcomes = await cross(four, CROSSING, Progress(io.StringIO()))
    return {one.placement: one for one in outcomes}


@pytest.mark.parametrize("placement", PLACEMENTS, ids=lambda placement: placement.name)
def test_what_waits_and_what_is_left_is_that_of_the_model(
    crossed: dict[Placement, Crossed], placement: Placement
) -> None:
    """With the module on the sender, on the receiver, on both and on none.

    All other messages are those of stock Synapse, byte for byte, each sender's in the
    order in which they were sent; and the recipient gets all that is queued.
    """
    one, stock = crossed[placement], crossed[PLACEMENTS[0]]
    assert waited_otherwise(one.waited, outbox(CROSSING.away, placement)) == ""
    expected = expected_rows(CROSSING, placement)
    assert left_otherwise(one.mailboxes, expected) == ""
    assert lanes(one.mailboxes, others) == lanes(stock.mailboxes, others)
    assert synced_otherwise(one) == ""
    assert (one.failed, one.failures) == (0, 0)
    assert one.active == placement.sender + placement.receiver
    if placement.receiver:
        assert not any(map(copies, one.mailboxes.values()))

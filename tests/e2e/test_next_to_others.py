"""Other modules that wrap the same methods, loaded before ours and after it.

The one before is the innermost, next to Synapse; the one after is the outermost.
"""

from __future__ import annotations

from typing import Any, Dict

import pytest

from tests.harness.messages import PLAIN, WITHHELD, make_key
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import counted, failures
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.neighbour import LOCAL, ROWS, Neighbour
from tests.harness.servers.stage import MODULE, Site, Stage, Two
from tests.harness.waiting import eventually

# Between our wrappers of a method and of the one that writes rows, or outside both.
BETWEEN = [("before", LOCAL), ("after", ROWS)]
OUTSIDE = [("after", LOCAL), ("before", ROWS)]

Neighbours = Dict[str, Neighbour]


@async_fixture(scope="module")
async def site(stage: Stage) -> Site:
    return stage.site()


@pytest.fixture
def neighbours(site: Site) -> Neighbours:
    """Return the neighbours, which look on, whatever they did in the test before."""
    neighbours = {name: Neighbour(site.directory, name) for name in ("before", "after")}
    for each in neighbours.values():
        each.behave()
    return neighbours


@async_fixture(scope="module")
async def homeserver(stage: Stage, site: Site) -> Homeserver:
    """Run a Synapse with the module between two others.

    In this file it takes the place of the one that other files share.
    """
    before, after = (
        Neighbour(site.directory, name).module() for name in ("before", "after")
    )
    ours = {"module": MODULE, "config": {}}
    return await stage.start(None, {"modules": [before, ours, after]}, site)


async def check_rule(two: Two) -> list[dict[str, Any]]:
    """Check that a repeat collapses, a new key supersedes and others just pass.

    Returns:
        The messages as sent: a notice, its repeat, another, a notice, another.
    """
    async with counted(two.homeserver) as decided:
        sent = [
            await two.send(two.notice(reason="first")),
            await two.send(two.notice(reason="again")),
            await two.send({"number": 1}, PLAIN),
            await two.send(two.notice(sender_key="a new key")),
            await two.send({"number": 2}, PLAIN),
        ]
        await eventually(two.mailbox, sent[2:])
    assert decided == {"deliver": 1, "collapse": 1, "supersede": 1}
    return sent


@in_reactor
async def test_neighbours_see_what_they_should(
    neighbours: Neighbours, two: Two
) -> None:
    """Loaded after ours, all that is sent; loaded before, what is left to store."""
    sent = [{two.recipient.device_id: each} for each in await check_rule(two)]
    left = [sent[0], *sent[2:]]
    recipient = two.recipient.user_id
    assert neighbours["after"].saw(LOCAL, recipient) == sent
    assert neighbours["before"].saw(LOCAL, recipient) == left
    assert neighbours["after"].saw(ROWS, recipient) == left
    assert neighbours["before"].saw(ROWS, recipient) == left


@pytest.mark.parametrize(("which", "at"), BETWEEN)
@in_reactor
async def test_copies_passed_on_between_ours_are_all_stored(
    neighbours: Neighbours, two: Two, which: str, at: str
) -> None:
    """Rows that were not seen to be written stand for nothing: all is as on stock."""
    neighbours[which].behave(at=at, copy="deep")
    failed = await failures(two.homeserver)
    async with counted(two.homeserver) as decided:
        sent = [
            await two.send(content, kind)
            for number in range(3)
            # Twice the same key, then a new one.
            for content, kind in (
                (two.notice(sender_key=make_key(f"{number // 2}")), WITHHELD),
                ({"number": number}, PLAIN),
            )
        ]
    assert (two.mailbox(), decided) == (sent, {"deliver": 3})
    assert await failures(two.homeserver) == failed


@pytest.mark.parametrize(("which", "at"), BETWEEN + OUTSIDE)
@in_reactor
async def test_what_a_neighbour_refuses_is_refused_as_without_ours(
    neighbours: Neighbours, two: Two, which: str, at: str
) -> None:
    """The client is told what the neighbour says; before and after, the rule holds."""
    sent = await check_rule(two)
    failed = await failures(two.homeserver)
    neighbours[which].behave(at=at, refuse=WITHHELD)
    # To be superseded by, if it were stored.
    newest = two.notice(sender_key="the newest key")
    contents = {two.recipient.user_id: {two.recipient.device_id: newest}}
    for _ in range(2):
        assert await two.sender.send_to_device(WITHHELD, contents) == 403
    assert two.mailbox() == sent[2:]
    neighbours[which].behave()
    # What was forgotten is found by the first, on old Synapses only by its own key.
    for content in (sent[3]["content"], sent[3]["content"], newest):
        await two.send(content)
    await eventually(two.mailbox, [sent[2], sent[4], two.queued(newest)])
    assert await failures(two.homeserver) == failed

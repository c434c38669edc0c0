"""Other modules that wrap the same methods, loaded before ours and after it.

The one before is the innermost, next to Synapse; the one after is the outermost.
"""

from __future__ import annotations

from typing import Any, Dict

import pytest
from pytest_twisted import async_fixture

from tests.harness.messages import PLAIN, WITHHELD, make_key, make_message
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.modules import LOCAL, ROWS, Neighbour
from tests.harness.servers.stage import MODULE, Site, Stage, Two
from tests.harness.waiting import eventually

# Between our wrappers of a method and of the one that writes rows, or outside both.
BETWEEN = [("before", LOCAL), ("after", ROWS)]
OUTSIDE = [("after", LOCAL), ("before", ROWS)]

Neighbours = Dict[str, Neighbour]


@pytest.fixture(scope="module")
def site(stage: Stage) -> Site:
    return stage.site()


@pytest.fixture
def neighbours(site: Site) -> Neighbours:
    """Return the neighbours, which look on, whatever they did in the test before."""
    found = {name: Neighbour(site.directory, name) for name in ("before", "after")}
    for each in found.values():
        each.behave()
    return found


@async_fixture(scope="module")
async def homeserver(stage: Stage, site: Site) -> Homeserver:
    """Take the place of the Synapse that other files share."""
    names = ("before", "after")
    before, after = (Neighbour(site.directory, name).module() for name in names)
    modules = [before, {"module": MODULE, "config": {}}, after]
    return await stage.start(None, {"modules": modules}, site)


async def check_rule(two: Two) -> list[dict[str, Any]]:
    """Check that a repeat collapses, a new key supersedes and others just pass."""
    async with two.homeserver.counted() as decided:
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


async def test_neighbours_see_what_is_theirs(neighbours: Neighbours, two: Two) -> None:
    """Loaded after ours, all that is sent; loaded before, what is left to store."""
    sent = [{two.recipient.device_id: each} for each in await check_rule(two)]
    left = [sent[0], *sent[2:]]
    for name, at in (*BETWEEN, *OUTSIDE):
        expected = sent if (name, at) == ("after", LOCAL) else left
        assert neighbours[name].saw(at, two.recipient.user_id) == expected


@pytest.mark.parametrize(("which", "at"), BETWEEN)
async def test_copies_passed_on_between_ours_are_all_stored(
    neighbours: Neighbours, two: Two, which: str, at: str
) -> None:
    """Rows that were not seen to be written stand for nothing: all is as on stock."""
    neighbours[which].behave(at, "copy")
    failed = await two.homeserver.failures()
    async with two.homeserver.counted() as decided:
        # Twice the same key, then a new one.
        keys = [make_key(name) for name in ("one", "one", "another")]
        sent = [await two.send(two.notice(sender_key=key)) for key in keys]
    assert (two.mailbox(), decided) == (sent, {"deliver": 3})
    assert await two.homeserver.failures() == failed


@pytest.mark.parametrize(("which", "at"), BETWEEN + OUTSIDE)
async def test_what_a_neighbour_refuses_is_refused_as_without_ours(
    neighbours: Neighbours, two: Two, which: str, at: str
) -> None:
    """The client is told what the neighbour says; before and after, the rule holds."""
    *_, passed, kept, last = await check_rule(two)
    failed = await two.homeserver.failures()
    neighbours[which].behave(at, "refuse")
    # To be superseded by, if it were stored.
    newest = two.notice(sender_key="the newest key")
    contents = {two.recipient.user_id: {two.recipient.device_id: newest}}
    for _ in range(2):
        assert await two.sender.send_to_device(WITHHELD, contents) == 403
    assert two.mailbox() == [passed, kept, last]
    neighbours[which].behave()
    # What was forgotten is found by the first, on old Synapses only by its own key.
    for content in (kept["content"], kept["content"], newest):
        await two.send(content)
    stored = make_message(two.sender.user_id, newest)
    await eventually(two.mailbox, [passed, last, stored])
    assert await two.homeserver.failures() == failed

"""Other modules that wrap the same methods, loaded before ours and after it.

The one before is the innermost, next to Synapse; the one after is the outermost.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.harness.clients.messages import PLAIN, WITHHELD, make_key
from tests.harness.databases.mailbox import mailbox
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import MODULE, Site, Stage, Two, log_in
from tests.harness.metrics.samples import counted, failures
from tests.harness.modules.neighbour import LOCAL, ROWS, Neighbour
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor

OURS = {"module": MODULE, "config": {}}
# Between our wrappers of a method and of the one that writes rows, or outside both.
BETWEEN = [("before", LOCAL), ("after", ROWS)]
OUTSIDE = [("after", LOCAL), ("before", ROWS)]


@attrs.frozen
class Neighbours:
    """The other modules of a Synapse: one loaded before ours, one after it."""

    before: Neighbour
    after: Neighbour

    @classmethod
    def at(cls, site: Site) -> Neighbours:
        """Let them write down what they see where the homeserver keeps its data."""
        return cls(
            Neighbour(site.directory, "before"), Neighbour(site.directory, "after")
        )

    def modules(self) -> list[dict[str, Any]]:
        return [self.before.module(), OURS, self.after.module()]

    def behave(self, which: str, at: str, **behaviour: str) -> None:
        """Let the one that is meant do something else than look on."""
        {"before": self.before, "after": self.after}[which].behave(at=at, **behaviour)


@async_fixture(scope="module")
async def site(stage: Stage) -> Site:
    """Return where the Synapse of this file keeps its data."""
    return stage.site()


@async_fixture(scope="module")
async def homeserver(stage: Stage, site: Site) -> Homeserver:
    """Run a Synapse with the module between two others.

    In this file it takes the place of the one that other files share.
    """
    return await start(stage, site, Neighbours.at(site).modules())


async def start(stage: Stage, site: Site, modules: list[dict[str, Any]]) -> Homeserver:
    """Start a Synapse that loads these modules in this order."""
    return await stage.start(None, {"modules": modules}, site)


@pytest.fixture
def neighbours(site: Site) -> Neighbours:
    """Return the neighbours, which look on, whatever they did in the test before."""
    neighbours = Neighbours.at(site)
    neighbours.before.behave()
    neighbours.after.behave()
    return neighbours


async def check_rule(two: Two) -> list[dict[str, Any]]:
    """Check that a repeat collapses, a new key supersedes and others just pass.

    Returns:
        The messages as sent: a notice, its repeat, another, a notice, another.
    """
    contents: list[tuple[dict[str, Any], str]] = [
        (two.notice(reason="first"), WITHHELD),
        (two.notice(reason="again"), WITHHELD),
        ({"number": 1}, PLAIN),
        (two.notice(sender_key=make_key("a new key")), WITHHELD),
        ({"number": 2}, PLAIN),
    ]
    async with counted(two.homeserver) as decided:
        for content, kind in contents:
            await two.send(content, kind)
        sent = [two.queued(*each) for each in contents]
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
    assert neighbours.after.saw(LOCAL, recipient) == sent
    assert neighbours.before.saw(LOCAL, recipient) == left
    assert neighbours.after.saw(ROWS, recipient) == left
    assert neighbours.before.saw(ROWS, recipient) == left


@in_reactor
async def test_neighbours_see_what_is_left_of_a_batch(
    neighbours: Neighbours, two: Two
) -> None:
    """What a batch is emptied of is missing further in, and nothing else."""
    await two.send(two.notice())
    other = await log_in(two.recipient, "OTHER")
    recipient = two.recipient.user_id
    contents = {device: two.notice(reason="both") for device in ("AWAY", "OTHER")}
    assert await two.sender.send_to_device(WITHHELD, {recipient: contents}) == 200
    message = two.queued(two.notice(reason="both"))
    both = {"AWAY": message, "OTHER": message}
    assert neighbours.after.saw(LOCAL, recipient)[-1] == both
    assert neighbours.before.saw(LOCAL, recipient)[-1] == {"OTHER": message}
    assert neighbours.before.saw(ROWS, recipient)[-1] == {"OTHER": message}
    assert mailbox(two.homeserver, other) == [message]


@pytest.mark.parametrize("how", ["shallow", "deep"])
@pytest.mark.parametrize(("which", "at"), OUTSIDE)
@in_reactor
async def test_copies_passed_on_outside_ours_change_nothing(
    neighbours: Neighbours, two: Two, which: str, at: str, how: str
) -> None:
    """Which object a batch is matters to nobody there."""
    neighbours.behave(which, at, copy=how)
    await check_rule(two)


@pytest.mark.parametrize("how", ["shallow", "deep"])
@pytest.mark.parametrize(("which", "at"), BETWEEN)
@in_reactor
async def test_copies_passed_on_between_ours_are_all_stored(
    neighbours: Neighbours, two: Two, which: str, at: str, how: str
) -> None:
    """Rows that were not seen to be written stand for nothing: all is as on stock."""
    neighbours.behave(which, at, copy=how)
    failed = await failures(two.homeserver)
    sent = []
    async with counted(two.homeserver) as decided:
        for number in range(3):
            # Twice the same key, then a new one.
            notice = two.notice(sender_key=make_key(f"{number // 2}"))
            for content, kind in ((notice, WITHHELD), ({"number": number}, PLAIN)):
                await two.send(content, kind)
                sent.append(two.queued(content, kind))
    assert two.mailbox() == sent
    assert decided == {"deliver": 3}
    assert await failures(two.homeserver) == failed


@pytest.mark.parametrize("refused", [PLAIN, WITHHELD])
@pytest.mark.parametrize(("which", "at"), BETWEEN + OUTSIDE)
@in_reactor
async def test_what_a_neighbour_refuses_is_refused_as_without_ours(
    neighbours: Neighbours, two: Two, which: str, at: str, refused: str
) -> None:
    """The client is told what the neighbour says; before and after, the rule holds."""
    sent = await check_rule(two)
    failed = await failures(two.homeserver)
    neighbours.behave(which, at, refuse=refused)
    # To be superseded by, if it were stored.
    newest = two.notice(sender_key=make_key("the newest key"))
    content = newest if refused == WITHHELD else {"number": 3}
    for _ in range(2):
        contents = {two.recipient.user_id: {two.recipient.device_id: content}}
        assert await two.sender.send_to_device(refused, contents) == 403
    assert two.mailbox() == sent[2:]
    neighbours.behave(which, at="")
    # What was forgotten is found by the first, on old Synapses only by its own key.
    for content in (sent[3]["content"], sent[3]["content"], newest):
        await two.send(content)
    expected = [sent[2], sent[4], two.queued(newest)]
    await eventually(two.mailbox, expected)
    assert await failures(two.homeserver) == failed

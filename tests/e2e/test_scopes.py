"""Notices about one room and session beside notices about everything."""

from __future__ import annotations

from typing import Any

from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import Stage, Two, two_on
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor


def scope(number: int) -> dict[str, Any]:
    """Return what a scoped notice says of its scope."""
    return {"room_id": f"!room{number}:withheld.test", "session_id": f"session{number}"}


@in_reactor
async def test_scoped_then_unscoped_supersedes(two: Two) -> None:
    """A notice about everything says more than the queued one about a session."""
    await two.send(two.notice(**scope(1)))
    async with counted(two.homeserver) as decided:
        await two.send(two.notice())
        await eventually(two.mailbox, [two.queued(two.notice())])
    assert decided == {"supersede": 1}


@in_reactor
async def test_unscoped_then_scoped_collapses(two: Two) -> None:
    """A queued notice about everything covers one about a session."""
    await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(**scope(1)))
        assert two.mailbox() == [two.queued(two.notice())]
    assert decided == {"collapse": 1}


@in_reactor
async def test_notices_about_many_sessions_collapse(two: Two) -> None:
    """A recipient may apply any of them to everything sent before."""
    async with counted(two.homeserver) as decided:
        for number in range(5):
            await two.send(two.notice(**scope(number)))
        assert two.mailbox() == [two.queued(two.notice(**scope(0)))]
    assert decided == {"deliver": 1, "collapse": 4}


@async_fixture(scope="module")
async def apart(stage: Stage) -> Homeserver:
    """Run a Synapse that keeps scopes apart."""
    return await stage.start({"merge_scopes": False})


@in_reactor
async def test_without_merging_scopes_stay_apart(apart: Homeserver) -> None:
    """With `merge_scopes: false` each room and session keeps its own notice."""
    two = await two_on(apart)
    notices = [
        two.notice(**scope(1)),
        two.notice(**scope(2)),
        two.notice(room_id="!room1:withheld.test"),
        two.notice(session_id="session1"),
        two.notice(),
    ]
    async with counted(apart) as decided:
        for notice in notices * 2:
            await two.send(notice)
        assert two.mailbox() == [two.queued(notice) for notice in notices]
    assert decided == {"deliver": 5, "collapse": 5}

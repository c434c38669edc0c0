"""With the callback that docs/upstream.md proposes, nothing of Synapse is wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AsyncIterator

from tests.harness.mailbox import counted, failures, mailbox
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.outward import IMPATIENT, outward_from
from tests.harness.polling import eventually
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.stage import Stage, two_on
from tests.harness.upstream import UPSTREAM_MODULE

if TYPE_CHECKING:
    from synapse_withheld.demo.homeserver import Homeserver
    from tests.harness.federation import RemoteServer


def with_callback(**config: Any) -> dict[str, Any]:
    """Return what makes a Synapse have the callback."""
    entry = {"module": UPSTREAM_MODULE, "config": config}
    return {"modules": [entry], **IMPATIENT}


@async_yield_fixture(scope="module")
async def upstream(stage: Stage) -> AsyncIterator[Homeserver]:
    """Run a Synapse that has the callback, and the module."""
    yield await stage.start({}, with_callback())


@in_reactor
async def test_the_rule_holds_by_the_callback(upstream: Homeserver) -> None:
    """Duplicates collapse, an Olm message re-arms, and others pass."""
    two = await two_on(upstream)
    olm = make_olm_lookalike(two.sender_key, make_key("recipient"))
    async with counted(upstream) as decided:
        for _ in range(3):
            assert await two.send(two.notice()) == 200
        assert await two.send({"number": 1}, PLAIN) == 200
        assert await two.send(olm, ENCRYPTED) == 200
        assert await two.send(two.notice()) == 200
        user_id = two.sender.user_id
        await eventually(
            lambda: mailbox(upstream, two.recipient),
            [
                make_message(user_id, {"number": 1}, PLAIN),
                make_message(user_id, olm, ENCRYPTED),
                make_message(user_id, two.notice()),
            ],
        )
    assert decided == {"deliver": 1, "collapse": 2, "supersede": 1}
    assert await failures(upstream) == 0


@in_reactor
async def test_what_comes_by_federation_collapses_by_the_callback(
    upstream: Homeserver, remote: RemoteServer
) -> None:
    """And a repeated EDU is still known."""
    two = await two_on(upstream)
    sender = remote.user("away")
    content = make_notice(make_key(sender), "THERE")
    messages = {two.recipient.user_id: {two.recipient.device_id: content}}
    queued = [make_message(sender, content)]
    async with counted(upstream) as decided:
        for message_id in ("first", "second", "second"):
            await remote.send_edu(upstream, sender, WITHHELD, messages, message_id)
        await eventually(lambda: mailbox(upstream, two.recipient), queued)
    assert decided["deliver"] == 1
    assert decided["collapse"] >= 1


@in_reactor
async def test_what_waits_for_another_server_collapses_by_the_callback(
    upstream: Homeserver, remote: RemoteServer
) -> None:
    """One EDU for the pair."""
    outward = await outward_from(upstream, remote)
    for _ in range(3):
        await outward.send(outward.notice())
    assert outward.outbox() == [{"A": outward.notice()}]


@in_reactor
async def test_a_callback_that_fails_loses_nothing(own_stage: Stage) -> None:
    """Synapse stores what it has."""
    homeserver = await own_stage.start({}, with_callback(fail=True))
    two = await two_on(homeserver)
    for _ in range(2):
        assert await two.send(two.notice()) == 200
    notice = make_message(two.sender.user_id, two.notice())
    assert mailbox(homeserver, two.recipient) == [notice, notice]

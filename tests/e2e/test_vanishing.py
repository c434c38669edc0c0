"""Requests that vanish together with their cancellation, on a real Synapse."""

from __future__ import annotations

from typing import Any

from tests.e2e.test_rules import tell, types_and_contents
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import Stage, Two, everything_tidied
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor
from tests.model.client import KEY_REQUEST, SECRET_REQUEST
from tests.model.test_rules import Message, request

OTHER: Message = ("m.dummy", {"n": 1})
ASKED = request(KEY_REQUEST, "request", "1", "a")
TAKEN_BACK = request(KEY_REQUEST, "request_cancellation", "1", "")


@async_fixture(scope="module")
async def homeserver(stage: Stage) -> Homeserver:
    """Run a Synapse on which requests vanish, for this file alone."""
    rules = {"key_requests": "vanish", "secret_requests": "vanish"}
    return await stage.start({"rules": rules})


async def contents(two: Two, since: str | None = None) -> tuple[list[Any], str]:
    """Let the recipient sync; return the contents, and what acknowledges them."""
    answer = await two.recipient.sync(since=since)
    events = answer.get("to_device", {}).get("events", [])
    return [each["content"] for each in events], answer["next_batch"]


@in_reactor
async def test_while_nobody_reads_request_and_cancellation_vanish(two: Two) -> None:
    """However often it is repeated; nothing else goes."""
    secret = request(SECRET_REQUEST, "request", "1", "a")
    no_secret = request(SECRET_REQUEST, "request_cancellation", "1", "")
    async with counted(two.homeserver) as decided:
        await tell(two, ASKED, OTHER, ASKED, TAKEN_BACK, secret, no_secret)
        await eventually(lambda: types_and_contents(two), [OTHER])
    assert decided == {"deliver": 2, "supersede": 3}


@in_reactor
async def test_whoever_read_the_request_is_told_that_it_is_taken_back(two: Two) -> None:
    """Before and after it is acknowledged."""
    await tell(two, ASKED)
    given, since = await contents(two)
    assert [ASKED[1]] == given
    await tell(two, TAKEN_BACK)
    await everything_tidied(two.homeserver)
    given, since = await contents(two, since)
    assert [TAKEN_BACK[1]] == given

    # It is acknowledged, asked again and taken back: the device knew of it before.
    await contents(two, since)
    await tell(two, ASKED, TAKEN_BACK)
    await everything_tidied(two.homeserver)
    assert [TAKEN_BACK[1]] == (await contents(two, since))[0]


@in_reactor
async def test_after_a_restart_a_request_from_before_is_taken_back(two: Two) -> None:
    """Nobody knows whether it was handed out."""
    await tell(two, ASKED)
    await two.homeserver.restart()
    await tell(two, request(KEY_REQUEST, "request", "1", "another"), TAKEN_BACK)
    await everything_tidied(two.homeserver)
    assert types_and_contents(two) == [TAKEN_BACK]

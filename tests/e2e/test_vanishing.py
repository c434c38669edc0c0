"""Requests that vanish together with their cancellation, on a real Synapse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.test_rules import tell, types_and_contents
from tests.harness.databases.mailbox import mailbox
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import (
    Stage,
    Two,
    everything_tidied,
    log_in,
    two_on,
)
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor
from tests.model.client import KEY_REQUEST, SECRET_REQUEST
from tests.model.test_rules import Message, request

RULES = {"key_requests": "vanish", "secret_requests": "vanish"}
BOTH = pytest.mark.parametrize("kind", [KEY_REQUEST, SECRET_REQUEST])
OTHER: Message = ("m.dummy", {"n": 1})


def asked(kind: str, about: str = "a") -> Message:
    """Return a request."""
    return request(kind, "request", "1", about)


def taken_back(kind: str) -> Message:
    """Return its cancellation."""
    return request(kind, "request_cancellation", "1", "")


@async_fixture(scope="module")
async def homeserver(stage: Stage) -> Homeserver:
    """Run a Synapse on which requests vanish, for this file alone."""
    return await stage.start({"rules": RULES})


async def contents(two: Two, since: str | None = None) -> tuple[list[Any], str]:
    """Let the recipient sync; return the contents, and what acknowledges them."""
    answer = await two.recipient.sync(since=since, timeout_ms=0)
    events = answer.get("to_device", {}).get("events", [])
    return [each["content"] for each in events], answer["next_batch"]


@BOTH
@in_reactor
async def test_while_nobody_reads_request_and_cancellation_vanish(
    two: Two, kind: str
) -> None:
    """However often it is repeated; nothing else goes."""
    async with counted(two.homeserver) as decided:
        await tell(two, asked(kind), OTHER, asked(kind), taken_back(kind))
        await eventually(lambda: types_and_contents(two), [OTHER])
    assert decided == {"deliver": 1, "supersede": 2}
    assert ([OTHER[1]]) == (await contents(two))[0]


@BOTH
@in_reactor
async def test_whoever_read_the_request_is_told_that_it_is_taken_back(
    two: Two, kind: str
) -> None:
    """Before and after it is acknowledged."""
    await tell(two, asked(kind))
    given, since = await contents(two)
    assert [asked(kind)[1]] == given
    await tell(two, taken_back(kind))
    await everything_tidied(two.homeserver)
    given, since = await contents(two, since)
    assert [taken_back(kind)[1]] == given

    # It is acknowledged, asked again and taken back: the device knew of it before.
    await contents(two, since)
    await tell(two, asked(kind), taken_back(kind))
    await everything_tidied(two.homeserver)
    assert [taken_back(kind)[1]] == (await contents(two, since))[0]


@in_reactor
async def test_what_is_asked_of_all_devices_vanishes_in_each(two: Two) -> None:
    """As clients do, but from the one that has read it."""
    online = await log_in(two.recipient, "ONLINE")
    # Whatever comes first opens a mailbox.
    await tell(two, OTHER)
    for device_id in (two.recipient.device_id, online.device_id):
        first = {two.recipient.user_id: {device_id: request(*_first("request"))[1]}}
        assert await two.sender.send_to_device(KEY_REQUEST, first) == 200
    await everything_tidied(two.homeserver)
    await _tell_all(two, asked(KEY_REQUEST))
    await online.sync(timeout_ms=0)
    await _tell_all(two, taken_back(KEY_REQUEST))
    await everything_tidied(two.homeserver)

    assert taken_back(KEY_REQUEST)[1] not in [each["content"] for each in two.mailbox()]
    assert taken_back(KEY_REQUEST)[1] in [
        each["content"] for each in mailbox(two.homeserver, online)
    ]


def _first(action: str) -> tuple[str, str, str, str]:
    return KEY_REQUEST, action, "first", "first"


async def _tell_all(two: Two, message: Message) -> None:
    messages = {two.recipient.user_id: {"*": message[1]}}
    assert await two.sender.send_to_device(message[0], messages) == 200


@in_reactor
async def test_after_a_restart_a_request_from_before_is_taken_back(
    own_stage: Stage,
) -> None:
    """Nobody knows whether it was handed out."""
    site = own_stage.site()
    homeserver = await own_stage.start({"rules": RULES}, site=site)
    two = await two_on(homeserver)
    await tell(two, asked(KEY_REQUEST))
    await homeserver.stop()
    await homeserver.start()
    await tell(two, asked(KEY_REQUEST, "another"), taken_back(KEY_REQUEST))
    await everything_tidied(homeserver)

    assert types_and_contents(two) == [taken_back(KEY_REQUEST)]

"""Every rule on a real Synapse, beside one without the module."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.harness.messages import WITHHELD, make_key
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import (
    NewDatabase,
    Shelf,
    Stage,
    Two,
    everything_tidied,
    two_on,
)
from tests.harness.waiting import eventually
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    Client,
)
from tests.model.test_rules import Message, request, verification

ALL_RULES = {
    "withheld": True,
    "key_requests": True,
    "secret_requests": True,
    "verification_requests": True,
}
PAIRS = [
    *(
        (
            request(kind, "request", "1", "a"),
            request(kind, "request_cancellation", "1", ""),
        )
        for kind in (KEY_REQUEST, SECRET_REQUEST)
    ),
    (verification(VERIFICATION_REQUEST, "1"), verification(VERIFICATION_CANCEL, "1")),
]


def withheld(session: str, code: str) -> Message:
    """Return a message that a session is withheld, as clients write it."""
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "code": code,
        "reason": "any",
        "room_id": "!room:withheld.test",
        "sender_key": make_key("sender"),
        "session_id": session,
    }
    return WITHHELD, content


@async_fixture()
async def every_rule(shelf: Shelf, new_database: NewDatabase) -> Homeserver:
    return await shelf.homeserver(new_database, {"rules": ALL_RULES})


async def tell(two: Two, *messages: Message) -> None:
    for message_type, content in messages:
        await two.send(content, message_type)


def types_and_contents(two: Two) -> list[Message]:
    return [(message["type"], message["content"]) for message in two.mailbox()]


async def contents(two: Two, since: str | None = None) -> tuple[list[Any], str]:
    """Let the recipient sync; return the contents, and what acknowledges them."""
    answer = await two.recipient.sync(since=since)
    events = answer.get("to_device", {}).get("events", [])
    return [each["content"] for each in events], answer["next_batch"]


@pytest.mark.parametrize(("asked", "taken_back"), PAIRS, ids=lambda each: each[0])
@in_reactor
async def test_a_cancellation_takes_the_place_of_its_request(
    every_rule: Homeserver, asked: Message, taken_back: Message
) -> None:
    """And who was asked already hears that it was taken back."""
    two = await two_on(every_rule)
    other = ("m.dummy", {"n": 1})
    await tell(two, asked, other)
    given, since = await contents(two)
    assert given == [asked[1], other[1]]
    async with counted(every_rule) as decided:
        await tell(two, taken_back)
        await eventually(lambda: types_and_contents(two), [other, taken_back])
    assert decided == {"supersede": 1}
    # Nothing was acknowledged before.
    assert (await contents(two, since))[0] == [taken_back[1]]


@in_reactor
async def test_each_session_has_its_newest_code(every_rule: Homeserver) -> None:
    two = await two_on(every_rule)
    one, other = withheld("1", "m.unverified"), withheld("2", "m.unverified")
    newer = withheld("1", "m.blacklisted")
    async with counted(every_rule) as decided:
        await tell(two, one, one, other, newer, newer, other)
        await eventually(lambda: types_and_contents(two), [other, newer])
    assert decided == {"deliver": 2, "supersede": 1, "collapse": 3}


def storm(seed: int) -> list[Message]:
    """Return messages of all rules, many of them about the same things."""
    chance = random.Random(seed)  # noqa: S311 no secret
    messages: list[Message] = []
    for n in range(60):
        pair = chance.choice(PAIRS)
        code = chance.choice(["m.unverified", "m.blacklisted"])
        messages.append(
            chance.choice(
                [*pair, withheld(chance.choice("12"), code), ("m.dummy", {"n": n})]
            )
        )
    return messages


@in_reactor
async def test_a_client_knows_the_same_as_without_the_module(
    every_rule: Homeserver, stock: Homeserver
) -> None:
    for seed in range(3):
        pairs = [await two_on(each) for each in (stock, every_rule)]
        for two in pairs:
            await tell(two, *storm(seed))
        await everything_tidied(every_rule)
        queued = [two.mailbox() for two in pairs]
        clients = Client(), Client()
        for client, messages in zip(clients, queued):
            # Whatever the users are called.
            client.give({**each, "sender": "@s"} for each in messages)
        assert clients[0].knows == clients[1].knows
        assert len(queued[1]) < len(queued[0]) == 60


OTHER: Message = ("m.dummy", {"n": 1})
ASKED = request(KEY_REQUEST, "request", "1", "a")
TAKEN_BACK = request(KEY_REQUEST, "request_cancellation", "1", "")


@async_fixture(scope="module")
async def homeserver(stage: Stage) -> Homeserver:
    """Run a Synapse on which requests vanish, for this file alone."""
    rules = {"key_requests": "vanish", "secret_requests": "vanish"}
    return await stage.start({"rules": rules})


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

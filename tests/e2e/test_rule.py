"""What stays of what is sent to a device, and when it may be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import pytest

from tests.e2e.conftest import SWITCHED, on_both_databases
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import in_reactor
from tests.harness.samples import counted
from tests.harness.servers.stage import (
    NewDatabase,
    Shelf,
    Stage,
    Two,
    new_name,
    send,
    two_on,
)
from tests.harness.waiting import eventually

KEY, OTHER_KEY = make_key("of the device"), make_key("of another device")

Sent = Tuple[str, Dict[str, Any]]


def notice(**more: Any) -> Sent:
    return WITHHELD, make_notice(**{"sender_key": KEY, "from_device": "DEV", **more})


def of_session(number: int, code: str = "m.no_olm") -> Sent:
    room = f"!room{number}:withheld.test"
    return notice(code=code, room_id=room, session_id=f"session{number}")


def request(kind: str, action: str = "request") -> Sent:
    asks = {"action": action, "requesting_device_id": "DEV", "request_id": "1"}
    return kind, asks


TAKEN_BACK = "request_cancellation"
KEYS, SECRETS = "m.room_key_request", "m.secret.request"
OTHER: Sent = (PLAIN, {"number": 1})
APART = [notice(), notice(session_id="session1"), of_session(1), of_session(2)]

# The configuration, what is sent to a recipient who is away, the places of what stays
# in the end, and what was decided.
Case = Tuple[Dict[str, Any], Sequence[Sent], Sequence[int], Dict[str, int]]

CASES: dict[str, Case] = {
    "a repeat collapses": ({}, [notice()] * 6, [0], {"deliver": 1, "collapse": 5}),
    "a new key of a device supersedes": (
        {},
        [notice(), OTHER, notice(sender_key=OTHER_KEY), notice(sender_key=OTHER_KEY)],
        [1, 2],
        {"deliver": 1, "supersede": 1, "collapse": 1},
    ),
    # They never reach a statement.
    "a key and a device that PostgreSQL would refuse collapse": (
        {},
        [notice(sender_key=KEY[:40] + "\0", from_device="a\0b")] * 3,
        [0],
        {"deliver": 1, "collapse": 2},
    ),
    "without merging scopes stay apart": (
        SWITCHED,
        APART * 2,
        range(len(APART)),
        {"deliver": len(APART), "collapse": len(APART)},
    ),
    "each session has its newest code": (
        SWITCHED,
        [of_session(1, "m.unverified"), OTHER, of_session(1, "m.blacklisted")],
        [1, 2],
        {"deliver": 1, "supersede": 1},
    ),
    "a cancellation takes the place of its request": (
        SWITCHED,
        [request(SECRETS), OTHER, request(SECRETS, TAKEN_BACK)],
        [1, 2],
        {"deliver": 1, "supersede": 1},
    ),
    "what vanishes leaves no cancellation": (
        SWITCHED,
        [request(KEYS), OTHER, request(KEYS), request(KEYS, TAKEN_BACK)],
        [1],
        {"deliver": 1, "supersede": 2},
    ),
}


@on_both_databases
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@in_reactor
async def test_of_what_is_sent_only_what_is_new_stays(
    shelf: Shelf, new_database: NewDatabase, case: Case
) -> None:
    config, messages, stays, expected = case
    two = await two_on(await shelf.homeserver(new_database, config))
    async with counted(two.homeserver) as decided:
        sent = [await two.send(content, kind) for kind, content in messages]
        await eventually(two.mailbox, [sent[place] for place in stays])
    assert decided == expected


@on_both_databases
@in_reactor
async def test_real_olm_messages_between_the_two_ends_rearm(two: Two) -> None:
    """In either direction: the next notice takes the place of the queued one."""
    somebody = await two.homeserver.register(new_name("somebody"))
    sender = await two.sender.upload_keys()
    recipient = await two.recipient.upload_keys()
    room_key = sender.establish(recipient).encrypt("a room key")
    answer = recipient.establish(sender).encrypt("m.dummy")
    notice = await two.send(sender.notice())
    passed = []
    for author, to, content, rearms in (
        (two.sender, two.recipient, room_key, True),
        (two.recipient, two.sender, answer, True),
        # Whatever keys it names.
        (somebody, two.recipient, room_key, False),
    ):
        passed.append(await send(author, to, content, ENCRYPTED))
        async with counted(two.homeserver) as decided:
            await two.send(sender.notice())
            await two.send(sender.notice())
        expected = {"supersede": 1, "collapse": 1} if rearms else {"collapse": 2}
        assert decided == expected
    await eventually(two.mailbox, [passed[0], notice, passed[2]])


@in_reactor
async def test_what_was_handed_out_may_be_repeated(two: Two) -> None:
    """The device may have slept before it acknowledged; the next takes its place."""
    since = (await two.recipient.sync())["next_batch"]
    async with counted(two.homeserver) as decided:
        first = await two.send(two.notice())
        await two.send(two.notice(reason="nobody asked since"))
        answered = await two.recipient.sync(since)
        assert answered["to_device"]["events"] == [first]
        newest = await two.send(two.notice(reason="again"))
        await eventually(two.mailbox, [newest])
    assert decided == {"deliver": 2, "collapse": 1}
    # An answer may be lost: with the old token and another timeout it is another
    # request, which no cache answers.
    repeated = await two.recipient.sync(since, timeout_ms=1)
    assert repeated["to_device"]["events"] == [newest]
    await two.recipient.sync(repeated["next_batch"])
    last = await two.send(two.notice(reason="after it was acknowledged"))
    assert two.mailbox() == [last]


@in_reactor
async def test_with_repeat_session_only_an_olm_message_lets_a_notice_be_repeated(
    own_stage: Stage,
) -> None:
    two = await two_on(await own_stage.start({"repeat": "session"}))
    first = await two.send(two.notice())
    assert await two.recipient.drain() == ([first], 2)
    async with counted(two.homeserver) as decided:
        for number in range(3):
            await two.send(two.notice(reason=f"again {number}"))
    assert (two.mailbox(), decided) == ([], {"collapse": 3})
    olm = await two.send(make_olm_lookalike(two.sender_key), ENCRYPTED)
    new = await two.send(two.notice(reason="new"))
    assert two.mailbox() == [olm, new]


SAMPLES = Path(__file__).parent.parent / "samples" / "no_olm.jsonl"
LINES = [json.loads(line) for line in SAMPLES.read_text().splitlines()]

# By client the situations whose notice stays: the last one of its pair, or the first
# of several with one key.
STAYS = {
    # E1, E2: the device of A and E0 with a new key each time. I2: the key of I1.
    "matrix-js-sdk 43.0.0, crypto-wasm": "E2 F0 F1 F2 G H1 I1",
    # Also H2: the key of H1.
    "matrix-js-sdk 43.0.0, server r": "E2 F0 F1 F2 G H1 I1",
    # Names no device: each key is a pair of its own.
    "matrix-js-sdk 34.13.0, libolm": "A G",
}


@pytest.mark.parametrize("client", STAYS)
@in_reactor
async def test_of_what_was_recorded_from_real_clients_one_of_each_pair_stays(
    two: Two, client: str
) -> None:
    stays = {}
    for sample in LINES:
        if sample["client"].startswith(client):
            message = sample["message"]
            situation = sample["situation"].partition(" ")[0].rstrip(".")
            queued = await two.send(message["content"], message["type"])
            if situation in STAYS[client].split():
                stays[situation] = queued
    await eventually(two.mailbox, [*stays.values()])
    assert " ".join(stays) == STAYS[client]
    assert all(each["client"].startswith(tuple(STAYS)) for each in LINES)

"""What is delivered, what collapses, what supersedes."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.client import Client
from tests.harness.messages import (
    OLDER_WITHHELD,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
)
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import Homeserver, mailbox, mailbox_of
from tests.harness.servers.stage import (
    NewDatabase,
    Shelf,
    Two,
    log_in,
    two_on,
)
from tests.harness.waiting import eventually

KEY, OTHER_KEY = make_key("of the device"), make_key("of another device")
ROOM = "!room1:withheld.test"


Sent = Tuple[Dict[str, Any], str]


def notice(kind: str = WITHHELD, **more: Any) -> Sent:
    return make_notice(**{"sender_key": KEY, "from_device": "DEV", **more}), kind


def scoped(number: int) -> Sent:
    room = f"!room{number}:withheld.test"
    return notice(room_id=room, session_id=f"session{number}")


def other(number: int) -> Sent:
    return {"number": number}, PLAIN


# What is sent to a recipient who is away, the places of what stays in the end, and
# what was decided.
Case = Tuple[List[Sent], List[int], Dict[str, int]]

CASES: dict[str, Case] = {
    "a repeat collapses": ([notice()] * 6, [0], {"deliver": 1, "collapse": 5}),
    # A client that lost its crypto store has a new key; the old one is dead.
    "a new key of a device supersedes": (
        [notice(), notice(sender_key=OTHER_KEY), notice(sender_key=OTHER_KEY)],
        [1],
        {"deliver": 1, "supersede": 1, "collapse": 1},
    ),
    "another device, or without one another key, is another pair": (
        [
            *(notice(), notice(from_device="OTHERDEV"), notice(from_device=None)),
            notice(from_device=None, sender_key=OTHER_KEY),
        ],
        [0, 1, 2, 3],
        {"deliver": 4},
    ),
    # Some recipients understand only one of them.
    "each type of the message keeps one": (
        [notice(), notice(OLDER_WITHHELD)] * 2,
        [0, 1],
        {"deliver": 2, "collapse": 2},
    ),
    "other messages stay in their order": (
        [other(0), notice(), other(1), notice(reason="r" * 50_000), other(2), notice()],
        [0, 1, 2, 4],
        {"deliver": 1, "collapse": 2},
    ),
    # They never reach a statement, which PostgreSQL would refuse.
    "a key with half a character in it collapses": (
        [notice(sender_key=KEY[:40] + "\0", from_device="a\0b")] * 3,
        [0],
        {"deliver": 1, "collapse": 2},
    ),
    # A recipient may apply any of them to everything sent before.
    "one about everything supersedes those about sessions": (
        [scoped(1), scoped(2), scoped(3), notice()],
        [3],
        {"deliver": 1, "collapse": 2, "supersede": 1},
    ),
}
APART = [
    *(scoped(1), scoped(2)),
    *(notice(room_id=ROOM), notice(session_id="session1"), notice()),
]


async def check(two: Two, case: Case) -> None:
    contents, stays, expected = case
    async with counted(two.homeserver) as decided:
        sent = [await two.send(*each) for each in contents]
        await eventually(two.mailbox, [sent[place] for place in stays])
    assert decided == expected


@on_both_databases
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@in_reactor
async def test_of_what_is_sent_only_what_is_new_stays(two: Two, case: Case) -> None:
    await check(two, case)


@in_reactor
async def test_without_merging_scopes_stay_apart(
    shelf: Shelf, new_database: NewDatabase
) -> None:
    """With `merge_scopes: false` each room and session keeps its own notice."""
    apart = await shelf.homeserver(new_database, {"merge_scopes": False})
    decided = {"deliver": len(APART), "collapse": len(APART)}
    await check(await two_on(apart), (APART * 2, [*range(len(APART))], decided))


@on_both_databases
@in_reactor
async def test_devices_of_one_request_are_decided_about_one_by_one(
    two: Two, homeserver: Homeserver
) -> None:
    """Of a request to two devices, only what the second lacks is stored."""
    first = await two.send(two.notice())
    second = await log_in(two.recipient, "SECOND")
    again, new = two.notice(reason="again"), two.notice(reason="new here")
    contents = {two.recipient.device_id: again, second.device_id: new}
    async with counted(homeserver) as decided:
        status = await two.sender.send_to_device(
            WITHHELD, {two.recipient.user_id: contents}
        )
    assert status == 200
    assert two.mailbox() == [first]
    assert mailbox(homeserver, second) == [two.queued(new)]
    assert decided == {"collapse": 1, "deliver": 1}


@async_fixture()
async def second(two: Two) -> Client:
    return await log_in(two.recipient, "SECOND")


async def broadcast(two: Two, reason: str, **others: Any) -> dict[str, Any]:
    """Send a notice to `*`, and others to single devices; return it as queued."""
    content = two.notice(reason=reason)
    contents = {two.recipient.user_id: {"*": content, **others}}
    assert await two.sender.send_to_device(WITHHELD, contents) == 200
    return two.queued(content)


@on_both_databases
@in_reactor
async def test_repeated_wildcard_notice_leaves_the_newest_one(
    two: Two, second: Client
) -> None:
    """It is always stored, and in each mailbox it makes the last one redundant."""
    await two.send(two.notice())
    async with counted(two.homeserver) as decided:
        for number in range(3):
            newest = await broadcast(two, f"copy {number}")
        # How the queued one was addressed makes no difference.
        await two.send(two.notice())
        await eventually(two.mailbox, [newest])
        await eventually(lambda: mailbox(two.homeserver, second), [newest])
    assert decided["collapse"] == 1


@on_both_databases
@in_reactor
async def test_mixed_wildcard_is_what_stock_makes_of_it(
    two: Two, second: Client
) -> None:
    """Of `{"*": …, "A": …}` stock stores A's alone; `*` never broadcasts."""
    for _ in range(3):
        await broadcast(two, "all", AWAY=two.notice())
        await eventually(two.mailbox, [two.queued(two.notice())])
        assert mailbox(two.homeserver, second) == []
    assert mailbox_of(two.homeserver, two.recipient.user_id, "*") == []

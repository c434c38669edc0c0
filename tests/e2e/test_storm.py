"""Many connections at once on PostgreSQL, where a careless module fails requests."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Callable

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.conftest import on_postgres
from tests.harness.clients.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_message,
    make_olm_lookalike,
)
from tests.harness.homeservers.stage import Two, everything_tidied, two_on
from tests.harness.metrics.samples import failures
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from tests.harness.homeservers.homeserver import Homeserver

CONNECTIONS = 32
MESSAGES = 800


async def storm(
    two: Two,
    message: Callable[[int, int], tuple[str, dict[str, Any]]],
    messages: int = MESSAGES,
) -> None:
    """Send messages over many connections, each sending one after the other.

    Args:
        two: Who sends to whom.
        message: Returns type and content of a connection's message by number.
        messages: How many, over all connections.
    """
    left = count()

    async def keep_sending(connection: int) -> None:
        for number in count():
            if next(left) >= messages:
                return
            message_type, content = message(connection, number)
            await two.send(content, message_type)

    await gatherResults(
        [Deferred.fromCoroutine(keep_sending(each)) for each in range(CONNECTIONS)]
    )


async def nothing_failed(homeserver: Homeserver) -> None:
    """Check that nobody lost a race in the database, and that no statement failed."""
    log = homeserver.log_path.read_text(errors="replace")
    assert "could not serialize" not in log
    assert await failures(homeserver) == 0


@on_postgres
@in_reactor
async def test_storm_of_notices_leaves_exactly_one(homeserver: Homeserver) -> None:
    """Every answer is 200, and of all notices the first is there."""
    two = await two_on(homeserver)
    await storm(two, lambda *_: (WITHHELD, two.notice()))
    await eventually(two.mailbox, [two.queued(two.notice())])
    await nothing_failed(homeserver)


@on_postgres
@in_reactor
async def test_storm_of_notices_and_olm_messages_keeps_every_olm_message(
    homeserver: Homeserver,
) -> None:
    """Half of them re-arm: all of those stay, in order, beside one notice."""
    two = await two_on(homeserver)

    def message(connection: int, number: int) -> tuple[str, dict[str, Any]]:
        if number % 2:
            return WITHHELD, two.notice(reason=f"{connection} {number}")
        body = f"{connection} {number}"
        olm = make_olm_lookalike(two.sender_key, make_key("recipient"), body)
        return ENCRYPTED, olm

    await storm(two, message)
    await everything_tidied(homeserver)
    queued = two.mailbox()
    assert len([each for each in queued if each["type"] == WITHHELD]) == 1
    check_order(queued, MESSAGES)
    await nothing_failed(homeserver)


def check_order(queued: list[dict[str, Any]], sent: int) -> None:
    """Check that of each connection every second message is there, in order."""
    by_connection: dict[int, list[int]] = {}
    for each in queued:
        if each["type"] == ENCRYPTED:
            (ciphertext,) = each["content"]["ciphertext"].values()
            connection, number = map(int, ciphertext["body"].split())
            by_connection.setdefault(connection, []).append(number)
    for numbers in by_connection.values():
        assert numbers == list(range(0, 2 * len(numbers), 2))
    # Each connection begins with an Olm message, so some have one more of them.
    olm_messages = sum(map(len, by_connection.values()))
    assert sent / 2 <= olm_messages <= sent / 2 + len(by_connection) / 2 + 1


@on_postgres
@in_reactor
async def test_storm_of_superseding_notices_leaves_one(homeserver: Homeserver) -> None:
    """Where every notice has a new key, each deletion races with the next write."""
    two = await two_on(homeserver)
    notices = [two.notice(sender_key=make_key(f"{each}")) for each in range(8)]
    await storm(
        two,
        lambda connection, number: (WITHHELD, notices[(connection + number) % 8]),
        messages=400,
    )
    await everything_tidied(homeserver)
    (left,) = two.mailbox()
    assert left in [two.queued(each) for each in notices]
    await nothing_failed(homeserver)


def test_lost_olm_messages_would_be_seen() -> None:
    """A gap and a wrong order are noticed."""

    def queued(*numbers: int) -> list[dict[str, Any]]:
        return [
            make_message("@a:b", make_olm_lookalike("k", "r", f"1 {number}"), ENCRYPTED)
            for number in numbers
        ]

    check_order(queued(0, 2, 4), sent=6)
    for numbers in ((0, 4), (2, 0), (0,)):
        with pytest.raises(AssertionError):
            check_order(queued(*numbers), sent=6)

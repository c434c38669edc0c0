"""Many connections at once on PostgreSQL, where a careless module fails requests."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.conftest import on_postgres
from tests.harness.clients.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_olm_lookalike,
)
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import everything_tidied, two_on
from tests.harness.metrics.samples import failures
from tests.harness.reactor import in_reactor

CONNECTIONS, MESSAGES_EACH = 32, 25


@on_postgres
@pytest.mark.parametrize("olm_every", [MESSAGES_EACH + 1, 2])
@in_reactor
async def test_storm_of_notices_leaves_one_and_every_olm_message(
    homeserver: Homeserver, olm_every: int
) -> None:
    """Those that re-arm all stay, in order; and nobody lost a race."""
    two = await two_on(homeserver)

    async def keep_sending(connection: int) -> None:
        for number in range(1, MESSAGES_EACH + 1):
            name = f"{connection} {number}"
            if number % olm_every:
                await two.send(two.notice(reason=name))
            else:
                olm = make_olm_lookalike(two.sender_key, make_key("theirs"), name)
                await two.send(olm, ENCRYPTED)

    await gatherResults(
        [Deferred.fromCoroutine(keep_sending(each)) for each in range(CONNECTIONS)]
    )
    await everything_tidied(homeserver)
    queued = two.mailbox()
    assert [each["type"] for each in queued].count(WITHHELD) == 1
    bodies = [
        next(iter(each["content"]["ciphertext"].values()))["body"].split()
        for each in queued
        if each["type"] == ENCRYPTED
    ]
    numbers = list(range(olm_every, MESSAGES_EACH + 1, olm_every))
    for connection in range(CONNECTIONS):
        found = [int(number) for own, number in bodies if own == str(connection)]
        assert found == numbers
    log = homeserver.log_path.read_text(errors="replace")
    assert "could not serialize" not in log
    assert await failures(homeserver) == 0

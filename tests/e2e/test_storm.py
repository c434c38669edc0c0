"""Many connections at once, where a careless module fails, or loses log contexts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.conftest import on_postgres
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_olm_lookalike,
)
from tests.harness.reactor import in_reactor
from tests.harness.samples import DECISIONS, TIDIED, failures, total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import write_log_config
from tests.harness.servers.stage import Stage, Two, everything_tidied, two_on
from tests.harness.waiting import together

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

    await together(*map(keep_sending, range(CONNECTIONS)))
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


# Who warns, and of what: the time and the request before, names and numbers differ.
LINE = re.compile(r"^\S+ \S+ (?P<logger>\S+) (?:WARNING|ERROR|CRITICAL) (?P<text>.*)$")
ABOUT_CONTEXTS = re.compile(r"log ?context|logging ?context|sentinel", re.IGNORECASE)


async def start(stage: Stage, module: dict[str, Any] | None) -> Homeserver:
    site = stage.site()
    directory = site.directory / "everything"
    log_path = directory / "everything.log"
    write_log_config(directory, log_path, level="DEBUG")
    config = {"log_config": str(directory / "log.yaml")}
    homeserver = await stage.start(module, config, site)
    homeserver.log_path = log_path
    return homeserver


async def everything(homeserver: Homeserver, remote: RemoteServer) -> None:
    """Send what waits, what is released, what supersedes, and what others read."""
    people = [await two_on(homeserver) for _ in range(3)]

    async def keep_sending(two: Two, connection: int) -> None:
        for number in range(12):
            key = make_key(f"{two.sender_key} {number // 6}")
            await two.send(two.notice(sender_key=key))
            if (connection + number) % 4 == 0:
                await two.send({"number": number}, PLAIN)
            if (connection + number) % 6 == 0:
                await two.recipient.sync()

    await together(*(keep_sending(people[each % 3], each) for each in range(12)))
    two = people[0]
    messages = {two.recipient.user_id: {two.recipient.device_id: two.notice()}}
    for number in range(20):
        kind = [WITHHELD, WITHHELD, PLAIN][number % 3]
        await remote.send_edu(homeserver, remote.user("sender"), kind, messages)


def warnings(log: str) -> set[str]:
    """Return what a log warns of about log contexts, without names and numbers."""
    return {
        re.sub(r"\S*\d\S*", "…", found["text"])
        for found in map(LINE.match, log.splitlines())
        if found
        and (
            found["logger"].startswith("synapse.logging.context")
            or ABOUT_CONTEXTS.search(found["text"])
        )
    }


@in_reactor
async def test_no_log_context_is_lost_that_stock_does_not_lose(
    own_stage: Stage, remote: RemoteServer
) -> None:
    """Duplicates wait and are released, and rows are tidied, at level DEBUG."""
    stock = await start(own_stage, None)
    homeserver = await start(own_stage, {})
    for each in (stock, homeserver):
        await everything(each, remote)
    await everything_tidied(homeserver)

    metrics = await homeserver.metrics()
    assert total(metrics, DECISIONS, decision="collapse") > 0
    assert total(metrics, DECISIONS, reason="released") > 0
    assert total(metrics, TIDIED) > 0
    logs = [each.log_path.read_text(errors="replace") for each in (homeserver, stock)]
    assert " DEBUG " in logs[0]
    assert warnings(logs[0]) - warnings(logs[1]) == set()
    # They would be seen.
    line = (
        "2026-11-25 18:41:38,410 twisted ERROR PUT-7 Re-starting finished log context"
    )
    assert len(warnings(line)) == 1

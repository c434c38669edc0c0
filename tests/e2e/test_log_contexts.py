"""The module breaks none of Synapse's log contexts: its log would warn of that."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.harness.clients.messages import PLAIN, WITHHELD, make_key
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.settings import write_log_config
from tests.harness.homeservers.stage import Stage, Two, everything_tidied, two_on
from tests.harness.metrics.samples import DECISIONS, TIDIED, total
from tests.harness.reactor import in_reactor

CONNECTIONS, ROUNDS = 12, 12
# Who warns, and of what: the time and the request before, names and numbers differ.
LINE = re.compile(r"^\S+ \S+ (?P<logger>\S+) (?P<level>WARNING|ERROR|CRITICAL) (.*)$")
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


async def storm(homeserver: Homeserver, remote: RemoteServer) -> None:
    """Send what waits, what is released, what supersedes, and what others read."""
    people = [await two_on(homeserver) for _ in range(3)]

    async def keep_sending(two: Two, connection: int) -> None:
        for number in range(ROUNDS):
            key = make_key(f"{two.sender_key} {number // 6}")
            await two.send(two.notice(sender_key=key))
            if (connection + number) % 4 == 0:
                await two.send({"number": number}, PLAIN)
            if (connection + number) % 6 == 0:
                await two.recipient.sync()

    connections = [
        Deferred.fromCoroutine(keep_sending(people[number % len(people)], number))
        for number in range(CONNECTIONS)
    ]
    await gatherResults(connections)
    recipient = people[0].recipient
    notice = people[0].notice(sender_key=make_key("abroad"))
    contents = [
        {
            "sender": remote.user("sender"),
            "type": message_type,
            "message_id": f"message {number}",
            "messages": {recipient.user_id: {recipient.device_id: notice}},
        }
        for number in range(20)
        for message_type in ([WITHHELD, WITHHELD, PLAIN][number % 3],)
    ]
    status, _ = await remote.send_edus(homeserver, contents)
    assert status == 200


def warnings(log: str) -> set[str]:
    """Return what a log warns of about log contexts, without names and numbers."""
    found = set()
    for line in log.splitlines():
        parts = LINE.match(line)
        if parts and (
            parts["logger"].startswith("synapse.logging.context")
            or ABOUT_CONTEXTS.search(parts[3])
        ):
            found.add(re.sub(r"\S*\d\S*", "…", parts[3]))
    return found


@in_reactor
async def test_no_log_context_is_lost_that_stock_does_not_lose(
    own_stage: Stage, remote: RemoteServer
) -> None:
    """Duplicates wait and are released, and rows are tidied, at level DEBUG."""
    stock = await start(own_stage, None)
    homeserver = await start(own_stage, {})
    for each in (stock, homeserver):
        await storm(each, remote)
    await everything_tidied(homeserver)

    metrics = await homeserver.metrics()
    assert total(metrics, DECISIONS, decision="collapse") > 0
    assert total(metrics, DECISIONS, reason="released") > 0
    assert total(metrics, TIDIED) > 0
    logs = [each.log_path.read_text(errors="replace") for each in (homeserver, stock)]
    assert " DEBUG " in logs[0]
    assert warnings(logs[0]) - warnings(logs[1]) == set()


def test_warnings_would_be_seen() -> None:
    """Whoever gives them."""
    line = "2026-11-25 18:41:38,410 {} {} PUT-7 {}"
    log = "\n".join(
        [
            line.format("synapse.logging.context", "WARNING", "Expected PUT-7, found"),
            line.format("twisted", "ERROR", "Re-starting finished log context PUT-8"),
            line.format("synapse.logging.context", "DEBUG", "nothing"),
            line.format("synapse.http", "WARNING", "something else"),
        ]
    )
    assert len(warnings(log)) == 2

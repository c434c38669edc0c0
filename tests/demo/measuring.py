"""Measure what traffic left behind: at rest, and as the recipient gets it."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Mapping

import attrs

from tests.demo.checks import copies
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import ENCRYPTED
from tests.harness.databases.mailbox import rows_of
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.polling import become

# Superseded notices are deleted in the background, a moment after they are stored.
TIDY_WITHIN_S = 5.0


@attrs.frozen
class Catchup:
    """What the recipient got when it came back.

    Attributes:
        messages: All to-device messages, in order.
        syncs: How many syncs it took to have the last Olm message.
        seconds: How long these took.
    """

    messages: tuple[dict[str, Any], ...]
    syncs: int
    seconds: float


@attrs.frozen
class Measured:
    """What was measured on one homeserver.

    Attributes:
        mailboxes: The JSON text of the queued rows of each of the recipient's
            devices, at rest and before it came back.
        failed: How many requests failed.
        metrics: All samples, before it came back.
        catchup: How the device that was away caught up.
    """

    mailboxes: Mapping[str, tuple[str, ...]]
    failed: int
    metrics: Mapping[str, float]
    catchup: Catchup


async def measure(
    homeserver: Homeserver, away: Client, tablet: Client, failed: int
) -> Measured:
    """Measure a homeserver after the traffic, and let the away device catch up."""
    mailboxes = {
        client.device_id: rows_of(homeserver, client) for client in (away, tablet)
    }
    metrics = await homeserver.metrics()
    return Measured(mailboxes, failed, metrics, await catch_up(away))


async def settle(homeserver: Homeserver, *clients: Client) -> None:
    """Wait until the module has tidied the mailboxes, or should have."""

    def is_tidy() -> bool:
        return not any(copies(rows_of(homeserver, client)) for client in clients)

    await become(is_tidy, TIDY_WITHIN_S)


async def catch_up(client: Client) -> Catchup:
    """Sync until nothing comes any more."""
    messages: list[dict[str, Any]] = []
    since: str | None = None
    syncs, last_key = 0, (0, 0.0)
    started = perf_counter()
    while True:
        answer = await client.sync(since)
        since = answer["next_batch"]
        syncs += 1
        new = answer.get("to_device", {}).get("events", [])
        if any(message["type"] == ENCRYPTED for message in new):
            last_key = (syncs, perf_counter() - started)
        if not new:
            return Catchup(tuple(messages), *last_key)
        messages += new

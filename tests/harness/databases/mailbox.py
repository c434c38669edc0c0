"""Look into mailboxes, and count what the module decided."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator

if TYPE_CHECKING:
    from tests.harness.clients.matrix import Client
    from tests.harness.homeservers.homeserver import Homeserver

DECISIONS = "synapse_withheld_decisions_total"
FAILURES = "synapse_withheld_failures_total"
ACTIVE = "synapse_withheld_active"


def stored(homeserver: Homeserver, user_id: str, device_id: str) -> list[str]:
    """Return the JSON text of a mailbox's rows, in their order."""
    rows = homeserver.query(
        """
        SELECT message_json FROM device_inbox
        WHERE user_id = ? AND device_id = ? ORDER BY stream_id
        """,
        (user_id, device_id),
    )
    return [text for (text,) in rows]


def mailbox_of(
    homeserver: Homeserver, user_id: str, device_id: str
) -> list[dict[str, Any]]:
    """Return the messages in a mailbox, in their order."""
    return [json.loads(text) for text in stored(homeserver, user_id, device_id)]


def mailbox(homeserver: Homeserver, recipient: Client) -> list[dict[str, Any]]:
    """Return the messages queued for a client's device, in their order."""
    return mailbox_of(homeserver, recipient.user_id, recipient.device_id)


def stream_ids(homeserver: Homeserver, recipient: Client) -> list[int]:
    """Return the stream IDs of the rows queued for a client's device."""
    rows = homeserver.query(
        """
        SELECT stream_id FROM device_inbox
        WHERE user_id = ? AND device_id = ? ORDER BY stream_id
        """,
        (recipient.user_id, recipient.device_id),
    )
    return [stream_id for (stream_id,) in rows]


def total(metrics: dict[str, float], name: str, **labels: str) -> float:
    """Add up a metric over all labels that are not given."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value
        for series, value in metrics.items()
        if series.partition("{")[0] == name and all(each in series for each in wanted)
    )


def decisions(metrics: dict[str, float]) -> dict[str, int]:
    """Return how many decisions of each kind were made about mailboxes."""
    return {
        decision: int(total(metrics, DECISIONS, decision=decision, queue="inbox"))
        for decision in ("deliver", "collapse", "supersede")
    }


@asynccontextmanager
async def counted(homeserver: Homeserver) -> AsyncIterator[dict[str, int]]:
    """Count the decisions made meanwhile; those of which there were any.

    The dictionary that this gives is filled at the end.
    """
    made: dict[str, int] = {}
    before = decisions(await homeserver.metrics())
    yield made
    after = decisions(await homeserver.metrics())
    made.update(
        {key: after[key] - before[key] for key in after if after[key] != before[key]}
    )


async def failures(homeserver: Homeserver) -> int:
    """Return how many failures of its own the module has counted."""
    return int(total(await homeserver.metrics(), FAILURES))

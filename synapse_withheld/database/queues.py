"""The two queues that notices wait in, and what differs between them."""

from __future__ import annotations

from typing import Any, Callable

import attrs

from synapse_withheld.database import deletions, inbox, outbox


@attrs.frozen
class Queue:
    """Where messages wait for devices.

    Attributes:
        name: As metrics name it.
        read_ends: `None` where one row may hold messages for several.
        has_all_devices: Whether `*` means devices that this server knows. For
            those of other servers only they know, so it is left to them.
    """

    name: str
    read_pages: Callable[..., Any]
    read_ends: Callable[..., Any] | None
    read_queued: Callable[..., Any]
    delete_superseded: Callable[..., Any]
    has_all_devices: bool


INBOX = Queue(
    "inbox",
    inbox.withheld_read_mailboxes,
    inbox.withheld_read_ends,
    inbox.withheld_read_queued,
    deletions.withheld_delete_superseded,
    has_all_devices=True,
)
OUTBOX = Queue(
    "outbox",
    outbox.withheld_read_outboxes,
    None,
    outbox.withheld_read_queued_edus,
    outbox.withheld_delete_superseded_edus,
    has_all_devices=False,
)

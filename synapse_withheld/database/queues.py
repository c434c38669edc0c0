"""The two queues that notices wait in, and what differs between them."""

from __future__ import annotations

from typing import Callable

import attrs

from synapse_withheld.database import inbox, inbox_deletions, outbox
from synapse_withheld.database.sql import Page
from synapse_withheld.rules.mailbox import MailboxKey, RowState


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
    read_pages: Callable[..., dict[MailboxKey, Page]]
    read_ends: Callable[..., dict[MailboxKey, tuple[int, int]]] | None
    read_queued: Callable[..., dict[tuple[MailboxKey, int], RowState]]
    delete_superseded: Callable[..., int]
    has_all_devices: bool


INBOX = Queue(
    "inbox",
    inbox.withheld_read_mailboxes,
    inbox.withheld_read_ends,
    inbox.withheld_read_queued,
    inbox_deletions.withheld_delete_superseded,
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

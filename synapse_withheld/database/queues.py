"""The two queues that notices wait in, and what differs between them."""

from __future__ import annotations

from typing import Any, Callable, Hashable

import attrs

from synapse_withheld.database.deletions import withheld_delete_superseded
from synapse_withheld.database.inbox import (
    withheld_read_ends,
    withheld_read_mailboxes,
    withheld_read_queued,
)
from synapse_withheld.database.outbox import (
    withheld_delete_superseded_edus,
    withheld_read_outboxes,
    withheld_read_queued_edus,
)
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import MailboxKey


@attrs.frozen
class Queue:
    """Where messages wait for devices.

    Attributes:
        name: As metrics name it.
        read_ends: `None` where one row may hold messages for several.
        page_is_of: What a page is read from, for a mailbox: itself, or the outbox
            of its server.
        has_all_devices: Whether `*` means devices that this server knows. For
            those of other servers only they know, so it is left to them.
    """

    name: str
    read_pages: Callable[..., Any]
    read_ends: Callable[..., Any] | None
    page_is_of: Callable[[MailboxKey], Hashable]
    read_queued: Callable[..., Any]
    delete_superseded: Callable[..., Any]
    has_all_devices: bool


INBOX = Queue(
    "inbox",
    withheld_read_mailboxes,
    withheld_read_ends,
    lambda mailbox: mailbox,
    withheld_read_queued,
    withheld_delete_superseded,
    has_all_devices=True,
)
OUTBOX = Queue(
    "outbox",
    withheld_read_outboxes,
    None,
    lambda mailbox: server_of(mailbox[0]),
    withheld_read_queued_edus,
    withheld_delete_superseded_edus,
    has_all_devices=False,
)

"""The two queues that notices wait in, and what differs between them."""

from __future__ import annotations

from typing import Any, Callable

import attrs

from synapse_withheld.database.inbox import (
    withheld_delete_superseded,
    withheld_read_mailboxes,
    withheld_read_queued,
)
from synapse_withheld.database.outbox import (
    withheld_delete_superseded_edus,
    withheld_read_outboxes,
    withheld_read_queued_edus,
)
from synapse_withheld.rules.decision import NO_ROOM, UNKNOWN_DEVICE, Decision


@attrs.frozen
class Queue:
    """Where messages wait for devices.

    Attributes:
        name: As metrics name it.
        read_mailboxes: The statement that reads what is queued in mailboxes.
        read_queued: The statement that tells what became of rows.
        delete_superseded: The statement that deletes rows.
        has_all_devices: Whether `*` means devices that this server knows. For
            those of other servers only they know, so it is left to them.
        unknown: What is decided for a mailbox that is not remembered once read.
    """

    name: str
    read_mailboxes: Callable[..., Any]
    read_queued: Callable[..., Any]
    delete_superseded: Callable[..., Any]
    has_all_devices: bool
    unknown: Decision


INBOX = Queue(
    "inbox",
    withheld_read_mailboxes,
    withheld_read_queued,
    withheld_delete_superseded,
    has_all_devices=True,
    unknown=UNKNOWN_DEVICE,
)
OUTBOX = Queue(
    "outbox",
    withheld_read_outboxes,
    withheld_read_queued_edus,
    withheld_delete_superseded_edus,
    has_all_devices=False,
    # It was pushed out of the index again: one request named too many.
    unknown=NO_ROOM,
)

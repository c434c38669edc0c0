"""A batch of messages on its way into the database, and the notices in it.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Any, Collection, Dict, Mapping

import attrs

from synapse_withheld.memory.memory import Mailbox, Storing
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.decision import COLLAPSE, Decision
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice

# {user ID: {device ID: {"content", "type", "sender"}}}, as Synapse's store takes
# messages for local devices.
LocalMessages = Dict[str, Dict[str, Dict[str, Any]]]

# {destination: EDU content}, as Synapse's store takes messages for other servers.
# An EDU's content has "sender", "type", "message_id" and
# "messages": {user ID: {device ID: content}}.
Edus = Dict[str, Dict[str, Any]]

WILDCARD = "*"


class ObservedBatch(Dict[str, Dict[str, Any]]):
    """Messages or EDUs to be stored, and what was seen of that.

    Attributes:
        stream_id: At which their rows were written; `None` where no row was:
            Synapse stores nothing of an EDU that it has already.
    """

    stream_id: int | None = None


@attrs.define(eq=False)
class Candidate:
    """A notice of the batch at hand, for one mailbox.

    Attributes:
        queue: The name of the queue that the mailbox is in.
        who: Whose room it takes: its sender's, or that of the server it came from.
        storing: What the memory knows of it while it is in flight; `None` where
            its mailbox is not remembered.
        decision: What was decided so far.
        record: The row that it is believed to be a duplicate of.
        wildcard: Whether the message is for all devices of the user.
        is_answered: Whether the database was asked, and the answer is the decision.
    """

    queue: str
    mailbox: MailboxKey
    notice: Notice
    message: dict[str, Any]
    who: str
    decision: Decision
    storing: Storing | None = None
    record: Record | None = None
    wildcard: bool = False
    is_answered: bool = False

    @property
    def collapses(self) -> bool:
        return self.decision.action == COLLAPSE


@attrs.define(eq=False)
class Unread:
    """Messages of a batch that nobody looked at: there are too many.

    Attributes:
        messages: How many.
        users: Whom they are for.
        mailboxes: Those that they are for, as far as these are remembered.
    """

    messages: int = 0
    users: list[str] = attrs.Factory(list)
    mailboxes: list[Mailbox] = attrs.Factory(list)


@attrs.define(eq=False)
class Batch:
    """What Synapse hands over at once, and what the module makes of it.

    Attributes:
        local: What is stored of it for devices of this server.
        edus: What is stored of it for other servers.
        sender: Who sent it.
        who: Whose share of everything it takes: the sender's, or that of the server
            that it came from, since a server can make up users.
        came_s: When, in seconds of a clock that never goes back.
        device_list_id: The position of the device list stream at that time.
        candidates: The notices in it.
        to_all: Users of whom it names all devices, and the notice for them.
        unread: What nobody looked at, by queue.
        sharing: Users whose messages are in one row with others.
    """

    local: LocalMessages
    edus: Edus
    sender: str
    who: str
    came_s: float
    device_list_id: int = 0
    candidates: list[Candidate] = attrs.Factory(list)
    to_all: list[tuple[str, Notice]] = attrs.Factory(list)
    unread: dict[str, Unread] = attrs.Factory(dict)
    sharing: Collection[str] = ()

    def users(self) -> set[str]:
        """Return the users that it is for."""
        abroad = (user_id for edu in self.edus.values() for user_id in edu["messages"])
        return {*self.local, *abroad}


def is_storable(identifier: str) -> bool:
    """Say whether a database can be asked about an identifier at all."""
    if "\0" in identifier:
        return False
    try:
        identifier.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def users_to_keep_whole(
    messages: Mapping[str, Mapping[str, Any]], taken_out: Collection[MailboxKey]
) -> set[str]:
    """Return the users of whom nothing may be taken out.

    Of `{"*": …, "A": …}` Synapse stores nothing for `*`; with A taken out it would
    store the message for every device.
    """
    return {
        user_id
        for user_id in {user_id for user_id, _ in taken_out}
        if WILDCARD in messages[user_id]
        and all(
            (user_id, device_id) in taken_out
            for device_id in messages[user_id]
            if device_id != WILDCARD
        )
    }


def without(
    messages: Mapping[str, Dict[str, Any]], taken_out: Collection[MailboxKey]
) -> ObservedBatch:
    """Return a batch without some of its messages; the order stays."""
    users = {user_id for user_id, _ in taken_out}
    kept = ObservedBatch()
    for user_id, by_device in messages.items():
        if user_id not in users:
            kept[user_id] = by_device
            continue
        left = {
            device_id: message
            for device_id, message in by_device.items()
            if (user_id, device_id) not in taken_out
        }
        if left:
            kept[user_id] = left
    return kept

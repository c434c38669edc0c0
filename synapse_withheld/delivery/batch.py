"""A batch of messages on its way into the database, and the notices in it.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Collection, Dict, Iterable, Iterator, Mapping, Set

import attrs

from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.decision import COLLAPSE, Decision
from synapse_withheld.rules.mailbox import WILDCARD, MailboxKey
from synapse_withheld.rules.notice import Notice

# {user ID: {device ID: {"content", "type", "sender"}}}, as Synapse's store takes
# messages for local devices.
LocalMessages = Dict[str, Dict[str, Dict[str, Any]]]

# {destination: EDU content}, as Synapse's store takes messages for other servers.
# An EDU's content has "sender", "type", "message_id" and
# "messages": {user ID: {device ID: content}}.
Edus = Dict[str, Dict[str, Any]]


class Watched(Dict[str, Any]):
    """The messages for the devices of one user, and which of them were looked at.

    One that was not cannot have been stored: Synapse finds out which devices exist, and
    reads the messages for these alone. It is a `dict`, so that any version of Synapse
    can use it. If one reads it in a way that is not noted here, the mailbox is
    forgotten and learned again.
    """

    def __init__(self, messages: Mapping[str, Any]) -> None:
        super().__init__(messages)
        self.looked_at: Set[str] = set()

    def __getitem__(self, device_id: str) -> Any:
        self.looked_at.add(device_id)
        return super().__getitem__(device_id)

    def __iter__(self) -> Iterator[str]:
        # Without this method `dict(watched)` would not go through `__getitem__`.
        return super().__iter__()

    def get(self, device_id: str, default: Any = None) -> Any:
        self.looked_at.add(device_id)
        return super().get(device_id, default)

    def values(self) -> Any:
        self.looked_at.update(self)
        return super().values()

    def items(self) -> Any:
        self.looked_at.update(self)
        return super().items()


class ObservedBatch(Dict[str, Dict[str, Any]]):
    """Messages or EDUs to be stored, and what was seen of that.

    Attributes:
        stream_id: At which their rows were written; `None` where no row was:
            Synapse stores nothing of an EDU that it has already.
        watched: What was seen of it by user, where it was watched.
    """

    stream_id: int | None = None
    watched: Mapping[str, Watched] | None = None

    def passed_over(self, mailbox: MailboxKey) -> bool:
        """Say whether nothing was stored in a mailbox: its device does not exist."""
        if self.watched is None:
            return False
        user_id, device_id = mailbox
        return not self.watched[user_id].looked_at & {device_id, WILDCARD}


def _observed(messages: dict[str, dict[str, Any]]) -> ObservedBatch:
    return messages if isinstance(messages, ObservedBatch) else ObservedBatch(messages)


@attrs.define(eq=False)
class Candidate:
    """A notice of the batch at hand, for one mailbox.

    Attributes:
        queue: The name of the queue that the mailbox is in.
        decision: What was decided so far.
        record: The row that it is believed to be a duplicate of.
        storing: What will be remembered of it, while it is in flight; `None` where
            its mailbox is not remembered.
        wildcard: Whether the message is for all devices of the user.
        is_answered: Whether the database was asked, and the answer is the decision.
    """

    queue: str
    mailbox: MailboxKey
    notice: Notice
    message: dict[str, Any]
    decision: Decision
    record: Record | None = None
    storing: Record | None = None
    wildcard: bool = False
    is_answered: bool = False

    @property
    def collapses(self) -> bool:
        return self.decision.action == COLLAPSE


@attrs.define(eq=False)
class Batch:
    """What Synapse hands over at once, and what the module makes of it.

    Attributes:
        local: What is stored of it for devices of this server.
        edus: What is stored of it for other servers.
        who: Whose share of everything it takes: the sender's, or that of the server
            that it came from, since a server can make up users.
        came_s: When, in seconds of a clock that never goes back.
        device_list_id: The position of the device list stream at that time.
        candidates: The notices in it.
        to_all: Notices for all devices of a user.
        unseen: Queues, users and their devices, for whom there is something in it that
            nobody looked at.
        unsorted: How many messages there are too many to look at, by queue.
    """

    local: ObservedBatch = attrs.field(converter=_observed)
    edus: ObservedBatch = attrs.field(converter=_observed)
    sender: str
    who: str
    came_s: float
    device_list_id: int = 0
    candidates: list[Candidate] = attrs.Factory(list)
    to_all: list[Candidate] = attrs.Factory(list)
    unseen: list[tuple[str, str, Collection[str]]] = attrs.Factory(list)
    unsorted: Counter[str] = attrs.Factory(Counter)


def how_many(messages: Mapping[str, Collection[str]]) -> int:
    """Return how many messages there are, given them or their devices by user."""
    return sum(map(len, messages.values()))


def users_of(local: LocalMessages, edus: Edus) -> set[str]:
    abroad = (user_id for edu in edus.values() for user_id in edu["messages"])
    return {*local, *abroad}


def first_of(local: LocalMessages, edus: Edus) -> Mapping[str, Any]:
    """Return the first message or EDU: all of a batch are of one sender and type."""
    for by_device in local.values():
        for message in by_device.values():
            return message
    return next(iter(edus.values()), {})


def decide(candidates: Iterable[Candidate], decision: Decision) -> None:
    for each in candidates:
        each.decision = decision


def may_be_taken_out(
    messages: Mapping[str, Mapping[str, Any]], taken_out: Collection[MailboxKey]
) -> set[MailboxKey]:
    """Return what may be taken out of messages: nothing that leaves `*` alone.

    Of `{"*": …, "A": …}` Synapse stores nothing for `*`; with A taken out it would
    store the message for every device.
    """
    users = {user_id for user_id, _ in taken_out}
    whole = {
        user_id
        for user_id in users
        if WILDCARD in messages[user_id]
        and all(
            (user_id, device_id) in taken_out
            for device_id in messages[user_id]
            if device_id != WILDCARD
        )
    }
    return {key for key in taken_out if key[0] not in whole}


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

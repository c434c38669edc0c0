"""Take a batch of withheld messages apart, and put together what is stored of it.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Iterable

import attrs

from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice

# {user ID: {device ID: {"content", "type", "sender"}}}, as Synapse's store takes
# messages for local devices.
LocalMessages = Dict[str, Dict[str, Dict[str, Any]]]

WILDCARD = "*"


class ObservedBatch(Dict[str, Dict[str, Dict[str, Any]]]):
    """Messages to be stored, and what was seen of that.

    Attributes:
        stream_id: At which their rows were written; `None` where no row was:
            Synapse stores nothing of an EDU that it has already.
        sharing: Users whose messages were written into one row with others.
    """

    stream_id: int | None = None
    sharing: Collection[str] = ()


@attrs.frozen
class Candidate:
    """A notice of a batch, and the mailboxes that it is for.

    Attributes:
        user_id: The recipient user.
        device_id: The device ID as the sender gave it, `*` included.
        notice: The notice.
        message: The message that carries it.
        lone_wildcard: Whether the message is for all devices of the user: `*`
            beside other device IDs is an ordinary, unlikely device ID.
    """

    user_id: str
    device_id: str
    notice: Notice
    message: dict[str, Any]
    lone_wildcard: bool

    def mailboxes(self, devices: dict[str, list[str]]) -> list[MailboxKey]:
        """Return the mailboxes, given the devices of users with a wildcard."""
        if not self.lone_wildcard:
            return [(self.user_id, self.device_id)]
        return [(self.user_id, device) for device in devices.get(self.user_id, ())]


def find_candidates(
    messages: LocalMessages,
    read: Callable[[dict[str, Any]], Notice | None],
    *,
    wildcards: bool = True,
) -> list[Candidate]:
    """Return the notices of a batch that may be decided about.

    Args:
        messages: The batch.
        read: Returns the notice that a message carries, if it is one.
        wildcards: Whether messages to `*` may be.
    """
    candidates = []
    for user_id, by_device in messages.items():
        for device_id, message in by_device.items():
            notice = read(message)
            if device_id == WILDCARD and not wildcards:
                continue
            if notice and is_storable(user_id) and is_storable(device_id):
                lone_wildcard = device_id == WILDCARD and len(by_device) == 1
                candidates.append(
                    Candidate(user_id, device_id, notice, message, lone_wildcard)
                )
    return candidates


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
    messages: LocalMessages, taken_out: Iterable[Candidate]
) -> set[str]:
    """Return the users of whom nothing may be taken out.

    Of `{"*": …, "A": …}` Synapse stores nothing for `*`; with A taken out it would
    store the message for every device.
    """
    taken = {(candidate.user_id, candidate.device_id) for candidate in taken_out}
    return {
        user_id
        for user_id, by_device in messages.items()
        if WILDCARD in by_device
        and len(by_device) > 1
        and all(
            (user_id, device_id) in taken
            for device_id in by_device
            if device_id != WILDCARD
        )
        and (user_id, WILDCARD) not in taken
    }


def without(messages: LocalMessages, taken_out: Iterable[Candidate]) -> ObservedBatch:
    """Return a batch without some of its notices; the order stays."""
    taken = {(candidate.user_id, candidate.device_id) for candidate in taken_out}
    kept = ObservedBatch()
    for user_id, by_device in messages.items():
        left = {
            device_id: message
            for device_id, message in by_device.items()
            if (user_id, device_id) not in taken
        }
        if left or not by_device:
            kept[user_id] = left
    return kept

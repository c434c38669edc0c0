"""EDUs for other servers as a batch of messages, and what is kept of it as EDUs.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Any, Collection

from synapse_withheld.delivery.batch import (
    Edus,
    LocalMessages,
    ObservedBatch,
    how_many,
    without,
)
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import MailboxKey


def as_messages(edus: Edus) -> LocalMessages | None:
    """Return the messages of EDUs as one batch.

    Returns:
        The batch; `None` where the EDUs are not what Synapse makes of a client's
        request: of one sender and one type, each to the server of its users.
    """
    messages: LocalMessages = {}
    if len({(edu["sender"], edu["type"]) for edu in edus.values()}) != 1:
        return None
    for destination, edu in edus.items():
        sender, message_type = edu["sender"], edu["type"]
        for user_id, by_device in edu["messages"].items():
            if server_of(user_id) != destination:
                return None
            messages[user_id] = {
                device_id: {"content": content, "type": message_type, "sender": sender}
                for device_id, content in by_device.items()
            }
    return messages


def without_collapsed(edus: Edus, taken_out: Collection[MailboxKey]) -> ObservedBatch:
    """Return what is left of EDUs: whole ones as they are, of others a copy."""
    left = ObservedBatch()
    touched = {server_of(user_id) for user_id, _ in taken_out}
    for destination, edu in edus.items():
        if destination not in touched:
            left[destination] = edu
            continue
        messages = without(edu["messages"], taken_out)
        if any(messages.values()):
            left[destination] = {**edu, "messages": dict(messages)}
    return left


def by_user(edus: Edus) -> dict[str, dict[str, Any]]:
    return {
        user_id: by_device
        for edu in edus.values()
        for user_id, by_device in edu["messages"].items()
    }


def users_sharing(edus: Edus) -> set[str]:
    """Return the users whose messages are in one EDU with others."""
    return {
        user_id
        for edu in edus.values()
        if how_many(edu["messages"]) > 1
        for user_id in edu["messages"]
    }

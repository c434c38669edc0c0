"""EDUs for other servers as a batch of messages, and what is kept of it as EDUs.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

from synapse_withheld.delivery.batch import LocalMessages
from synapse_withheld.rules.identifiers import server_of

# {destination: EDU content}, as Synapse's store takes messages for other servers.
# An EDU's content has "sender", "type", "message_id" and
# "messages": {user ID: {device ID: content}}.
Edus = Dict[str, Dict[str, Any]]


def types_of(edus: Mapping[str, Any]) -> list[Any]:
    """Return the types of EDUs; Synapse makes those of one call with one type."""
    return [edu.get("type") if isinstance(edu, dict) else None for edu in edus.values()]


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


def without_collapsed(edus: Edus, kept: LocalMessages) -> Edus:
    """Return what is left of EDUs: whole ones as they are, of others a copy.

    Args:
        edus: The EDUs; they stay as they are.
        kept: What is kept of the batch that `as_messages` made of them.
    """
    left: Edus = {}
    for destination, edu in edus.items():
        messages = {
            user_id: {device_id: by_device[device_id] for device_id in kept[user_id]}
            for user_id, by_device in edu["messages"].items()
            if user_id in kept
        }
        if messages == edu["messages"]:
            left[destination] = edu
        elif any(messages.values()):
            left[destination] = {**edu, "messages": messages}
    return left


def users_sharing(edus: Edus) -> set[str]:
    """Return the users whose messages are in one EDU with others."""
    return {
        user_id
        for edu in edus.values()
        if sum(map(len, edu["messages"].values())) > 1
        for user_id in edu["messages"]
    }

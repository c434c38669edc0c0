"""The batches that are sent and timed."""

from __future__ import annotations

from typing import Any, Iterable

from tests.harness.clients.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)

# A type that no rule names.
DUMMY = "m.dummy"

# What the body of an Olm message with a room key has, in characters.
_BODY = "A" * 700

SENDER_KEY = make_key("sender")


def content(message_type: str, from_device: str = "SENDERDEV") -> dict[str, Any]:
    """Return the content of a message of one of the measured types."""
    if message_type == WITHHELD:
        return make_notice(SENDER_KEY, from_device)
    if message_type == ENCRYPTED:
        return make_olm_lookalike(SENDER_KEY, make_key("recipient"), _BODY)
    return {}


def to_devices(
    message_type: str, user_id: str, device_ids: Iterable[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the `messages` of a request for some devices of a user."""
    return {user_id: {each: content(message_type) for each in device_ids}}

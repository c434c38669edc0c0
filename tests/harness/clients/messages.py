"""The to-device messages that the tests send."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

WITHHELD = "m.room_key.withheld"
OLDER_WITHHELD = "org.matrix.room_key.withheld"
ENCRYPTED = "m.room.encrypted"
# A type that no rule names.
PLAIN = "test.plain"

MEGOLM = "m.megolm.v1.aes-sha2"
OLM = "m.olm.v1.curve25519-aes-sha2"


def make_key(seed: str) -> str:
    """Return what has the form of a Curve25519 key, the same for the same seed."""
    digest = hashlib.sha256(seed.encode()).digest()
    return base64.b64encode(digest).decode().rstrip("=")


def make_notice(
    sender_key: str, from_device: str | None, **more: Any
) -> dict[str, Any]:
    """Return the content of a notice, as current clients send it."""
    content = {
        "algorithm": MEGOLM,
        "code": "m.no_olm",
        "reason": "Unable to establish a secure channel.",
        "sender_key": sender_key,
        **more,
    }
    if from_device is not None:
        content["from_device"] = from_device
    return content


def make_olm_lookalike(
    sender_key: str, recipient_key: str = "A" * 43, body: str = "AwogRkhK"
) -> dict[str, Any]:
    """Return content with all that a server sees of an Olm message."""
    return {
        "algorithm": OLM,
        "ciphertext": {recipient_key: {"body": body, "type": 1}},
        "sender_key": sender_key,
    }


def make_message(
    sender: str, content: dict[str, Any], message_type: str = WITHHELD
) -> dict[str, Any]:
    return {"content": content, "type": message_type, "sender": sender}

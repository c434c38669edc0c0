"""Read what senders put into messages, whatever that is.

Pure: nothing here knows of Synapse, SQL or time. The form of the messages is that of
the Matrix specification, section "End-to-end encryption".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

WITHHELD_TYPES = frozenset({"m.room_key.withheld", "org.matrix.room_key.withheld"})

# What the types have in common.
WITHHELD_MARK = "room_key.withheld"

NO_OLM = "m.no_olm"
# The others of the specification, about one session; clients may make up more.
SESSION_CODES = (
    "m.blacklisted",
    "m.unverified",
    "m.unauthorised",
    "m.unavailable",
    "m.history_not_shared",
)
_MEGOLM = "m.megolm.v1.aes-sha2"

# An unpadded Curve25519 key has 43 characters; identifiers have at most 255.
# What is longer is not real, and remembering it would cost memory.
MAX_KEY_LENGTH = 64
MAX_ID_LENGTH = 255

MALFORMED = "malformed"
OTHER = "other"


@attrs.frozen
class Withheld:
    """The content of a well-formed withheld message.

    Attributes:
        device: `device:` and `from_device`, where the message carries it; otherwise
            `key:` and `sender_key`. The two never meet, so that a device ID that looks
            like a key is not one.
        sender_key: The Curve25519 key of the sender's device.
    """

    device: str
    sender_key: str
    room_id: str | None
    session_id: str | None


def code_of(content: object) -> str:
    """Return the code of a withheld message as metrics name it.

    That is a code of the specification, `other` or `malformed`.
    """
    code = content.get("code") if isinstance(content, dict) else None
    if not isinstance(code, str):
        return MALFORMED
    if code == NO_OLM:
        return MALFORMED if read_withheld(content) is None else code
    return code if code in SESSION_CODES else OTHER


def read_withheld(content: object) -> Withheld | None:
    """Read the content of a withheld message; `None` if it is not well-formed."""
    if not isinstance(content, dict) or content.get("algorithm") != _MEGOLM:
        return None
    sender_key = content.get("sender_key")
    if not is_short(sender_key, MAX_KEY_LENGTH):
        return None
    # JSON's null says the same as a missing key.
    from_device = content.get("from_device")
    room_id = content.get("room_id")
    session_id = content.get("session_id")
    for identifier in (from_device, room_id, session_id):
        if identifier is not None and not is_short(identifier, MAX_ID_LENGTH):
            return None
    device = f"key:{sender_key}" if from_device is None else f"device:{from_device}"
    return Withheld(device, sender_key, room_id, session_id)


def has_code(content: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a content has a code at all."""
    return isinstance(content, dict) and isinstance(content.get("code"), str)


def is_short(value: object, limit: int) -> TypeGuard[str]:
    """Say whether a value is a text that is neither empty nor longer than a limit."""
    return isinstance(value, str) and 0 < len(value) <= limit

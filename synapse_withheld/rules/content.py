"""Read what senders put into messages, whatever that is.

The form of the messages is that of the Matrix specification, section "End-to-end
encryption".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Collection

import attrs

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

WITHHELD_TYPES = frozenset({"m.room_key.withheld", "org.matrix.room_key.withheld"})
# What these have in common.
WITHHELD = "room_key.withheld"
OLM_TYPE = "m.room.encrypted"

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

# What clients put in to follow a message, anew in each copy.
TRACING = "org.matrix.msgid"
_TRACED = f',"{TRACING}":"'


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
    """Return the code of a withheld message as metrics name it."""
    if not has_code(content):
        return MALFORMED
    code: str = content["code"]
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
    names = ("from_device", "room_id", "session_id")
    from_device, room_id, session_id = identifiers = [content.get(n) for n in names]
    # JSON's null says the same as a missing key.
    if not all(each is None or is_short(each) for each in identifiers):
        return None
    device = f"key:{sender_key}" if from_device is None else f"device:{from_device}"
    return Withheld(device, sender_key, room_id, session_id)


def read_olm(content: object) -> tuple[str | None, Collection[str]] | None:
    """Read the content of a to-device message of the type `OLM_TYPE`.

    Returns:
        The Curve25519 key of the sending device, if it is told, and the keys that
        the message is encrypted for; `None` if this is not an Olm message.
    """
    if not isinstance(content, dict):
        return None
    algorithm = content.get("algorithm")
    if not isinstance(algorithm, str) or not algorithm.startswith("m.olm."):
        return None
    sender_key = content.get("sender_key")
    ciphertext = content.get("ciphertext")
    return (
        sender_key if isinstance(sender_key, str) else None,
        ciphertext.keys() if isinstance(ciphertext, dict) else (),
    )


def without_tracing(text: str) -> str | None:
    """Return the text of a withheld message without the ID that tells copies apart.

    The message says the same without it. `None` for other messages.
    """
    if WITHHELD not in text:
        return None
    start = text.find(_TRACED)
    end = text.find('"', start + len(_TRACED))
    # What is escaped does not end it.
    if start < 0 or text[end - 1] == "\\":
        return text
    return text[:start] + text[end + 1 :]


def has_code(content: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(content, dict) and isinstance(content.get("code"), str)


def is_short(value: object, limit: int = MAX_ID_LENGTH) -> TypeGuard[str]:
    """Say whether a value is a text that is neither empty nor longer than a limit."""
    return isinstance(value, str) and 0 < len(value) <= limit

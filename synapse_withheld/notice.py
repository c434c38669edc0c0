"""Recognise withheld messages and Olm messages.

Pure: nothing here knows of Synapse, SQL or time. The form of the messages is
that of the Matrix specification, section "End-to-end encryption".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Collection, Mapping

import attrs

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

WITHHELD_TYPES = frozenset({"m.room_key.withheld", "org.matrix.room_key.withheld"})
OLM_TYPE = "m.room.encrypted"

NO_OLM = "m.no_olm"
_SPECIFIED_CODES = frozenset(
    {"m.blacklisted", "m.unverified", "m.unauthorised", "m.unavailable", NO_OLM}
)
_MEGOLM = "m.megolm.v1.aes-sha2"

# An unpadded Curve25519 key has 43 characters; identifiers have at most 255.
# What is longer is not real, and remembering it would cost memory.
MAX_KEY_LENGTH = 64
MAX_ID_LENGTH = 255

MALFORMED = "malformed"
OTHER = "other"


@attrs.frozen
class Pair:
    """Who tells: the sender's device and the message type, within one mailbox.

    Attributes:
        sender: The sender's user ID.
        device: `device:` and `from_device`, where the notice carries it;
            otherwise `key:` and `sender_key`. The two never meet, so that a
            device ID that looks like a key is not one.
        message_type: The stable or the older type; they never stand for each
            other, since some recipients understand only one.
        scope: `(room_id, session_id)` with `merge_scopes: false`, else `None`.
    """

    sender: str
    device: str
    message_type: str
    scope: tuple[str | None, str | None] | None = None


@attrs.frozen
class Notice:
    """A well-formed withheld message with the code `m.no_olm`.

    Attributes:
        pair: Whose notice it is.
        sender_key: The Curve25519 key of the sender's device: what an Olm
            message re-arms.
        scoped: Whether it names a room or a session.
    """

    pair: Pair
    sender_key: str
    scoped: bool


def read_withheld(
    sender: str, message_type: str, content: object, *, merge_scopes: bool
) -> tuple[str, Notice | None]:
    """Read a withheld message.

    Args:
        sender: The sender's user ID.
        message_type: One of `WITHHELD_TYPES`.
        content: The message's content, whatever the sender made it.
        merge_scopes: Whether notices about different sessions share a pair.

    Returns:
        The message's code as metrics name it (a code of the specification,
        `other` or `malformed`), and the notice if it is one.
    """
    if not isinstance(content, dict):
        return MALFORMED, None
    code = content.get("code")
    if not isinstance(code, str):
        return MALFORMED, None
    if code != NO_OLM:
        return (code if code in _SPECIFIED_CODES else OTHER), None
    notice = _read_notice(sender, message_type, content, merge_scopes)
    return (MALFORMED if notice is None else code), notice


def recognise(message: Mapping[str, Any], *, merge_scopes: bool) -> Notice | None:
    """Return the notice that a queued message is, `None` if it is none.

    Args:
        message: The JSON object of a row.
        merge_scopes: Whether notices about different sessions share a pair.
    """
    message_type, sender = message.get("type"), message.get("sender")
    # Another server may have sent anything as a type.
    if not isinstance(message_type, str) or not isinstance(sender, str):
        return None
    if message_type not in WITHHELD_TYPES:
        return None
    content = message.get("content")
    return read_withheld(sender, message_type, content, merge_scopes=merge_scopes)[1]


def read_olm(content: object) -> tuple[str | None, Collection[str]] | None:
    """Read the content of an `m.room.encrypted` to-device message.

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


def _read_notice(
    sender: str, message_type: str, content: dict[str, Any], merge_scopes: bool
) -> Notice | None:
    sender_key = content.get("sender_key")
    if content.get("algorithm") != _MEGOLM or not _is_short(sender_key, MAX_KEY_LENGTH):
        return None
    # JSON's null says the same as a missing key.
    from_device = content.get("from_device")
    room_id = content.get("room_id")
    session_id = content.get("session_id")
    for identifier in (from_device, room_id, session_id):
        if identifier is not None and not _is_short(identifier, MAX_ID_LENGTH):
            return None
    device = f"key:{sender_key}" if from_device is None else f"device:{from_device}"
    scope = None if merge_scopes else (room_id, session_id)
    scoped = room_id is not None or session_id is not None
    return Notice(Pair(sender, device, message_type, scope), sender_key, scoped)


def _is_short(value: object, limit: int) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= limit

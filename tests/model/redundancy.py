"""Which of two messages makes the other redundant, told from the table alone.

The table is that of `docs/design.md`; nothing of the module is looked at.
"""

from __future__ import annotations

import json
from typing import Any, Hashable, Mapping

Message = Mapping[str, Any]

WITHHELD = ["m.room_key.withheld", "org.matrix.room_key.withheld"]
REQUESTS = ["m.room_key_request", "m.secret.request"]
ACTIONS = ["request", "request_cancellation"]
VERIFICATION_REQUEST = "m.key.verification.request"
VERIFICATION_CANCEL = "m.key.verification.cancel"


def is_olm(message_type: Any, content: Any) -> bool:
    """Say whether a message is one of an Olm session."""
    is_encrypted = message_type == "m.room.encrypted" and isinstance(content, dict)
    return is_encrypted and str(content.get("algorithm")).startswith("m.olm.")


def is_notice(message_type: Any, content: Any) -> bool:
    """Say whether a message may collapse at all."""
    if message_type not in WITHHELD or not isinstance(content, dict):
        return False
    code, key = content.get("code"), content.get("sender_key")
    device, *scope = map(content.get, ("from_device", "room_id", "session_id"))
    return (
        content.get("algorithm") == "m.megolm.v1.aes-sha2"
        and _is_short(code)
        and _is_short(key, 64)
        and all(each is None or _is_short(each) for each in (device, *scope))
        # Every other code is about one session.
        and (code == "m.no_olm" or None not in scope)
    )


def is_scoped(content: Mapping[str, Any]) -> bool:
    """Say whether a notice names a room or a session."""
    return content.get("room_id") is not None or content.get("session_id") is not None


def pair_of(message: Message, *, merge_scopes: bool) -> tuple[Hashable, ...] | None:
    """Return what belongs together within one mailbox, `None` for other messages."""
    sender, kind, content = message["sender"], message["type"], message["content"]
    if is_notice(kind, content):
        device = ("device", content.get("from_device"))
        if device[1] is None:
            device = ("key", content["sender_key"])
        scope = (content.get("room_id"), content.get("session_id"))
        if content["code"] == "m.no_olm":
            return ("no_olm", sender, device, kind, None if merge_scopes else scope)
        return ("withheld", sender, device, kind, scope, content["sender_key"])
    if not isinstance(content, dict):
        return None
    if kind in REQUESTS and content.get("action") in ACTIONS:
        about = content.get("requesting_device_id"), content.get("request_id")
        return ("request", sender, kind, *about) if all(map(_is_short, about)) else None
    if kind in [VERIFICATION_REQUEST, VERIFICATION_CANCEL]:
        transaction_id = content.get("transaction_id")
        if _is_short(transaction_id):
            return ("verification", sender, transaction_id)
    return None


def goes(
    older: Message, newer: Message, *, merge_scopes: bool, newer_seen: bool
) -> bool:
    """Say whether the older of two messages in one mailbox may go for the newer one.

    It matters whether the newer one was seen arriving.
    """
    pair = pair_of(older, merge_scopes=merge_scopes)
    if pair is None or pair != pair_of(newer, merge_scopes=merge_scopes):
        return False
    before, after = older["content"], newer["content"]
    if pair[0] == "no_olm":
        says_less = is_scoped(after) and not is_scoped(before)
        same_key = before["sender_key"] == after["sender_key"]
        return not says_less and (newer_seen or same_key)
    if pair[0] == "withheld":
        return True
    same = older["type"] == newer["type"] and _untraced(before) == _untraced(after)
    if pair[0] == "request":
        return same or bool(after["action"] == "request_cancellation")
    was_asked = older["type"] == VERIFICATION_REQUEST
    return was_asked and (same or bool(newer["type"] == VERIFICATION_CANCEL))


def says_the_same(queued: Message, new: Message, *, merge_scopes: bool) -> bool:
    """Say whether a queued notice says all that a new one says."""
    if not is_notice(queued["type"], queued["content"]):
        return False
    pair = pair_of(queued, merge_scopes=merge_scopes)
    if pair != pair_of(new, merge_scopes=merge_scopes):
        return False
    before, after = queued["content"], new["content"]
    if (before["code"], before["sender_key"]) != (after["code"], after["sender_key"]):
        return False
    return is_scoped(after) or not is_scoped(before)


def _untraced(content: Mapping[str, Any]) -> str:
    said = {key: value for key, value in content.items() if key != "org.matrix.msgid"}
    return json.dumps(said, sort_keys=True)


def _is_short(value: object, limit: int = 255) -> bool:
    return isinstance(value, str) and 0 < len(value) <= limit

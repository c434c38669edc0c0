"""What may be left out of what is stored, written from the documentation alone."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

from tests.fuzz.inputs import Request

_TYPES = ("m.room_key.withheld", "org.matrix.room_key.withheld")
_LIMITS = {"sender_key": 64, "from_device": 255, "room_id": 255, "session_id": 255}


def may_be_left_out(
    request: Request, user_id: str, device_id: str, earlier: Sequence[Request]
) -> bool:
    """Say whether the last copy of a message, since an Olm message, says all of it."""
    if device_id == "*":
        # Beside others it says nothing.
        return len(request.messages[user_id]) > 1
    content = request.messages[user_id][device_id]
    says = _says(request.message_type, content)
    if says is None or _is_spoofed(request):
        return False
    place = (request.outward, request.sender, user_id)
    pair, what, scope = says
    for each in reversed([each for each in earlier if not _is_spoofed(each)]):
        if _rearms(each, place, device_id, content["sender_key"]):
            return False
        by_device = each.messages.get(user_id, {})
        queued = by_device.get("*" if [*by_device] == ["*"] else device_id)
        last = _says(each.message_type, queued)
        if last is None or last[0] != pair or _head(each) != _head(request):
            continue
        if last[1] != what:
            return False
        if last[2] in {"whole", scope}:
            return True
    return False


def _head(request: Request) -> tuple[Any, ...]:
    return request.outward, request.sender, request.message_type


def _rearms(olm: Request, place: tuple[Any, ...], device_id: str, key: str) -> bool:
    """Say whether an Olm message passed between the two ends, in either direction."""
    for to, device, content in _olm_messages(olm):
        is_theirs = device == "*" or (
            device == device_id and content.get("sender_key") == key
        )
        if (olm.outward, olm.sender, to) == place and is_theirs:
            return True
        if (olm.origin is not None, to, olm.sender) == place:
            return True
    return False


def _olm_messages(request: Request) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if request.message_type != "m.room.encrypted":
        return
    for user_id, by_device in request.messages.items():
        for device_id, content in by_device.items():
            algorithm = content.get("algorithm") if isinstance(content, dict) else None
            if isinstance(algorithm, str) and algorithm.startswith("m.olm."):
                yield user_id, device_id, content


def _says(message_type: Any, content: Any) -> tuple[tuple[Any, ...], str, str] | None:
    """Return the pair, what is said and the scope; `None` if it never collapses."""
    if not isinstance(message_type, str) or message_type not in _TYPES:
        return None
    if not isinstance(content, dict):
        return None
    code, said = content.get("code"), {each: content.get(each) for each in _LIMITS}
    key, device, room_id, session_id = said.values()
    if (
        content.get("algorithm") != "m.megolm.v1.aes-sha2"
        or not _is_short(code, 255)
        or key is None
        or any(v is not None and not _is_short(v, _LIMITS[k]) for k, v in said.items())
    ):
        return None
    identity = ("key", key) if device is None else ("device", device)
    if code == "m.no_olm":
        scope = "whole" if room_id is session_id is None else "scoped"
        return identity, str(key), scope
    if room_id is None or session_id is None:
        return None
    return (*identity, room_id, session_id, key), str(code), "whole"


def _is_short(value: object, limit: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= limit


def _is_spoofed(request: Request) -> bool:
    server = request.sender.partition(":")[2]
    return request.origin is not None and request.origin != server

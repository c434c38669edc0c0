"""What may be left out of what is stored, written from the documentation alone."""

from __future__ import annotations

from typing import Any, Dict, Set, Tuple

import attrs

from tests.fuzz.inputs import Request

_TYPES = ("m.room_key.withheld", "org.matrix.room_key.withheld")
_LIMITS = {"sender_key": 64, "from_device": 255, "room_id": 255, "session_id": 255}

# Whether it goes to other servers, sender, user, device, type, and what else tells
# pairs apart.
_Pair = Tuple[bool, str, str, str, str, Tuple[Any, ...]]


@attrs.define
class Said:
    """What was stored since an Olm message passed, and may stand for a duplicate.

    Attributes:
        of: By pair: what its last notice says, and in which scopes.
    """

    of: Dict[_Pair, Tuple[str, Set[str]]] = attrs.Factory(dict)

    def allows(self, request: Request, user_id: str, device_id: str) -> bool:
        """Say whether a message may be left out: its last copy says all of it."""
        if device_id == "*":
            # Beside others it says nothing.
            return len(request.messages[user_id]) > 1
        content = request.messages[user_id][device_id]
        says = _says(request.message_type, content)
        if says is None or _is_spoofed(request):
            return False
        pair, what, scope = says
        last, scopes = self._last(_pair(request, user_id, device_id, pair))
        return last == what and bool({"whole", scope} & scopes)

    def note(self, request: Request) -> None:
        if _is_spoofed(request):
            return
        for user_id, by_device in request.messages.items():
            for device_id, content in by_device.items():
                says = _says(request.message_type, content)
                if says is not None and (device_id != "*" or len(by_device) == 1):
                    pair, what, scope = says
                    self._note(_pair(request, user_id, device_id, pair), what, scope)
                elif request.message_type == "m.room.encrypted" and _is_olm(content):
                    self._rearm(request, user_id, device_id, content.get("sender_key"))

    def _note(self, pair: _Pair, what: str, scope: str) -> None:
        for each in {pair, *(each for each in self.of if _to_all(each) == pair)}:
            last, scopes = self._last(each)
            self.of[each] = (what, {scope, *(scopes if last == what else ())})

    def _last(self, pair: _Pair) -> tuple[str, set[str]]:
        return self.of.get(pair) or self.of.get(_to_all(pair)) or ("", set())

    def _rearm(self, request: Request, user_id: str, device_id: str, key: Any) -> None:
        answers = (request.origin is not None, user_id, request.sender)
        to_device = (request.outward, request.sender, user_id, device_id)
        for each, (what, _) in list(self.of.items()):
            about = each[-1][-1] if len(each[-1]) > 2 else what
            if each[:3] == answers or (
                each[:3] == to_device[:3]
                and (device_id == "*" or (each[3] == device_id and key == about))
            ):
                del self.of[each]


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


def _is_olm(content: Any) -> bool:
    algorithm = content.get("algorithm") if isinstance(content, dict) else None
    return isinstance(algorithm, str) and algorithm.startswith("m.olm.")


def _is_spoofed(request: Request) -> bool:
    server = request.sender.partition(":")[2]
    return request.origin is not None and request.origin != server


def _pair(
    request: Request, user_id: str, device_id: str, more: tuple[Any, ...]
) -> _Pair:
    place = (request.outward, request.sender, user_id, device_id)
    return (*place, request.message_type, more)


def _to_all(pair: _Pair) -> _Pair:
    return (*pair[:3], "*", *pair[4:])

"""Make requests of bytes: odd in every part that a sender has a say in."""

from __future__ import annotations

import json
from typing import Any, Sequence, TypeVar

import attrs

T = TypeVar("T")

_KEY = "QeAhSkZ61rtR5oJ"
_USERS = ("@a:here", "@b:here", "@c:there", "@d:other")
_NAMES = (*_USERS, "", ":", "@", "*", "\0", "\ud800")
_DEVICES = ("A", "B", "*", "", "\0", "\udfff", "\u202e", "key:" + _KEY, "D" * 300)
# A client's type is part of an address.
_STRING_TYPES: tuple[Any, ...] = (
    *("m.room_key.withheld", "org.matrix.room_key.withheld", "m.room.encrypted"),
    *("m.room_key_request", "m.secret.request"),
    *("m.key.verification.request", "m.key.verification.cancel"),
    *("m.room_key.withheld\0", ""),
)
_OTHER_TYPES = (None, 7, ["m.room_key.withheld"], {"m.room.encrypted": 1})
_KEYS = (
    *("code", "algorithm", "sender_key", "from_device", "room_id", "session_id"),
    *("ciphertext", "reason", "action", "request_id", "requesting_device_id"),
    *("transaction_id", "timestamp", "org.matrix.msgid", "__proto__", ""),
)
_STRINGS = (
    *("m.no_olm", "m.unverified", "m.blacklisted", "request", "request_cancellation"),
    *("m.megolm.v1.aes-sha2", "m.olm.v1.curve25519-aes-sha2", "M.NO_OLM", _KEY, "A"),
    *("", "\0", "\ud83d", "\U0001f511", "x" * 64, "x" * 65, "x" * 255, "x" * 256),
)
_SCALARS: tuple[Any, ...] = (None, True, False, 0, -1, 2**63, 1e308, float("nan"))

_MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2", "sender_key": _KEY}
_NOTICE: dict[str, Any] = {**_MEGOLM, "code": "m.no_olm"}
_OF_DEVICE = {**_NOTICE, "from_device": "A"}
_SESSION = {**_MEGOLM, "code": "m.unverified", "room_id": "A", "session_id": "A"}
_OLM = {
    "algorithm": "m.olm.v1.curve25519-aes-sha2",
    "sender_key": _KEY,
    "ciphertext": {"theirs": {"type": 0, "body": ""}},
}
_REQUEST = {
    "action": "request",
    "request_id": "A",
    "requesting_device_id": "A",
    "transaction_id": "A",
}

DEEPEST = 6
MOST_REQUESTS = 4


@attrs.frozen
class Request:
    """What a client or another server sends.

    Attributes:
        origin: The other server; `None` for a client.
        message_type: A string, where it came from a client.
        messages: Contents by user and device, as Synapse hands them on.
        outward: Whether it goes to other servers.
    """

    sender: str
    origin: str | None
    message_type: Any
    messages: dict[str, dict[str, Any]]
    outward: bool


class Bytes:
    """Choices, each taken from a byte; when they end, the first of each."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.byte() % len(choices)]

    def rest(self) -> bytes:
        at, self._at = self._at, len(self._data)
        return self._data[at:]


def requests(data: bytes) -> list[Request]:
    """Return the requests that some bytes stand for, in their order."""
    choices = Bytes(data)
    made = [_request(choices)]
    for _ in range(choices.byte() % MOST_REQUESTS):
        # What is drawn anew seldom has to do with what came before.
        is_new = choices.byte() % 4 == 0
        made.append(
            _request(choices) if is_new else _again(choices, choices.pick(made))
        )
    return made


def _again(choices: Bytes, request: Request) -> Request:
    """Return a request to the same devices: an Olm message, or most of the same."""
    is_olm = choices.byte() % 4 == 0
    messages: dict[str, dict[str, Any]] = {
        user_id: {device_id: dict(_OLM) for device_id in by_device}
        if is_olm
        else {
            device_id: content if choices.byte() % 2 else _changed(choices, content)
            for device_id, content in by_device.items()
        }
        for user_id, by_device in request.messages.items()
    }
    message_type = "m.room.encrypted" if is_olm else request.message_type
    return attrs.evolve(request, messages=messages, message_type=message_type)


def _request(choices: Bytes) -> Request:
    origin = choices.pick((None, None, "there", "other", "", "\0"))
    outward = origin is None and choices.byte() % 4 == 0
    types = _STRING_TYPES if origin is None else (*_STRING_TYPES, *_OTHER_TYPES)
    message_type = types[0] if choices.byte() % 2 else choices.pick(types)
    sender = choices.pick(_USERS) if choices.byte() % 4 else choices.pick(_NAMES)
    messages = {
        choices.pick(_NAMES): {
            choices.pick(_DEVICES): _content(choices)
            for _ in range(choices.byte() % 3 + 1)
        }
        for _ in range(choices.byte() % 3)
    }
    return Request(sender, origin, message_type, messages, outward)


def _content(choices: Bytes) -> Any:
    kind = choices.byte() % 8
    if kind < 4:
        return dict(choices.pick((_NOTICE, _OF_DEVICE, _SESSION, _OLM)))
    if kind == 7:
        return _value(choices, DEEPEST)
    return _changed(choices, choices.pick((_OF_DEVICE, _OLM, _REQUEST, _SESSION, {})))


def _changed(choices: Bytes, content: Any) -> Any:
    if not isinstance(content, dict):
        return _content(choices)
    some = range(choices.byte() % 4)
    return {**content, **{choices.pick(_KEYS): _value(choices, DEEPEST) for _ in some}}


def _value(choices: Bytes, depth: int) -> Any:
    kind = choices.byte() % (8 if depth else 5)
    if kind < 5:
        return choices.pick(_STRINGS if kind < 3 else _SCALARS)
    if kind < 7:
        some = [_value(choices, depth - 1) for _ in range(choices.byte() % 4)]
        return some if kind == 5 else {choices.pick(_KEYS): each for each in some}
    try:
        return json.loads(choices.rest())
    except (ValueError, RecursionError):
        return None

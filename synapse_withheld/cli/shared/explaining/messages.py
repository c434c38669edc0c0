"""Read to-device messages and what happens between them from lines of JSON."""

from __future__ import annotations

import json
from typing import Any, Union

import attrs

from synapse_withheld.delivery.batch import is_storable

# Where a line does not say for whom a message is, one mailbox takes all.
RECIPIENT = "@recipient:example.org"
DEVICE = "DEVICE"

ACKNOWLEDGED = "acknowledged"
RESTARTED = "restarted"
DEVICE_CHANGED = "device_changed"
HOURS_PASSED = "hours_passed"

_SECONDS_PER_HOUR = 3600


class NotUnderstoodError(Exception):
    """A line is neither a message nor something that can happen."""


@attrs.frozen
class NotJSON:
    """Stands for a text that is none."""


@attrs.frozen
class Message:
    """A to-device message for one device, or for all of a user with `*`."""

    user_id: str
    device_id: str
    message: dict[str, Any]


@attrs.frozen
class Happening:
    """What happens between two messages.

    Attributes:
        kind: One of the names above.
        seconds: How much time passes.
    """

    kind: str
    user_id: str
    device_id: str
    seconds: float = 0.0


Line = Union[Message, Happening]


def read_json(text: str) -> Any:
    """Return what a text stands for, `NotJSON` if for nothing."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NotJSON()


def understood(line: object) -> Line:
    """Return what a line stands for, given what JSON made of it.

    A message is an object with `sender`, `type` and `content`; or one that holds
    it as `message`, as recordings do; or its text as `message_json`, as Synapse's
    table does.

    Raises:
        NotUnderstoodError: It is none of these.
    """
    if isinstance(line, NotJSON):
        raise NotUnderstoodError("it is not JSON")
    if not isinstance(line, dict):
        raise NotUnderstoodError("it is not a JSON object")
    user_id = _text(line, "user_id", RECIPIENT)
    device_id = _text(line, "device_id", DEVICE)
    for kind in (ACKNOWLEDGED, RESTARTED, DEVICE_CHANGED):
        if line.get(kind) is True:
            return Happening(kind, user_id, device_id)
    if HOURS_PASSED in line:
        return Happening(HOURS_PASSED, user_id, device_id, _seconds(line[HOURS_PASSED]))
    return Message(user_id, device_id, _message(line))


def _message(line: dict[str, Any]) -> dict[str, Any]:
    message = line.get("message", line)
    if "message_json" in line:
        try:
            message = json.loads(line["message_json"])
        except (ValueError, TypeError, RecursionError):
            raise NotUnderstoodError("its 'message_json' is not JSON") from None
    if not isinstance(message, dict):
        raise NotUnderstoodError("its message is not a JSON object")
    for key in ("sender", "type"):
        if not isinstance(message.get(key), str):
            raise NotUnderstoodError(f"it has no '{key}' that is a string")
    if "content" not in message:
        raise NotUnderstoodError("it has no 'content'")
    return {key: message[key] for key in ("content", "type", "sender")}


def _text(line: dict[str, Any], key: str, default: str) -> str:
    value = line.get(key, default)
    if not isinstance(value, str):
        raise NotUnderstoodError(f"its '{key}' is not a string")
    if not is_storable(value):
        raise NotUnderstoodError(f"its '{key}' is nothing that a database can hold")
    return value


def _seconds(hours: object) -> float:
    if isinstance(hours, bool) or not isinstance(hours, (int, float)) or hours < 0:
        raise NotUnderstoodError(f"its '{HOURS_PASSED}' is no number, 0 or more")
    return hours * _SECONDS_PER_HOUR

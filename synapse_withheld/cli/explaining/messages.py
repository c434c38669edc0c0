"""Read to-device messages, and what happens between them, from a file of JSON."""

from __future__ import annotations

import json
from typing import Any, Iterator, NamedTuple

from synapse_withheld.rules.identifiers import is_storable

# Where a line does not say for whom a message is, one mailbox takes all.
RECIPIENT = "@recipient:example.org"
DEVICE = "DEVICE"

ACKNOWLEDGED = "acknowledged"
RESTARTED = "restarted"
DEVICE_CHANGED = "device_changed"
HOURS_PASSED = "hours_passed"

# PowerShell and Notepad begin files with it.
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
# Stands for a text that is no JSON, which never makes this.
_NOT_JSON = object()


class NotUnderstoodError(Exception):
    """A line is neither a message nor something that can happen."""


class Line(NamedTuple):
    """A to-device message, or what happens between two.

    Attributes:
        user_id: Whose mailbox it is about.
        device_id: Which of them; `*` for all of the user.
        message: The message; `None` where something else happens.
        happens: What, by one of the names above.
        seconds: How much time passes.
    """

    user_id: str
    device_id: str
    message: dict[str, Any] | None = None
    happens: str = ""
    seconds: float = 0.0


def numbered(text: str) -> Iterator[tuple[int, Any]]:
    """Return what the lines of a file hold, each with its number.

    A file that is one answer to a `/sync`, or one JSON array, has its messages numbered
    from 1; otherwise lines are, and messages that share a line share its number.
    """
    text = text.lstrip(_BYTE_ORDER_MARK)
    document = _read(text)
    if document is not _NOT_JSON:
        yield from enumerate(_messages(document), start=1)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield from ((number, each) for each in _messages(_read(line)))


def understood(line: object) -> Line:
    """Return what a line stands for, given what JSON made of it.

    A message is an object with `sender`, `type` and `content`; or one that holds
    it as `message`, as recordings do; or its text as `message_json`, as Synapse's
    table does.
    """
    if line is _NOT_JSON:
        raise NotUnderstoodError("it is not JSON")
    if not isinstance(line, dict):
        raise NotUnderstoodError("it is not a JSON object")
    user_id = _text(line, "user_id", RECIPIENT)
    device_id = _text(line, "device_id", DEVICE)
    for kind in (ACKNOWLEDGED, RESTARTED, DEVICE_CHANGED):
        if line.get(kind) is True:
            return Line(user_id, device_id, happens=kind)
    if HOURS_PASSED not in line:
        return Line(user_id, device_id, _message(line))
    hours = line[HOURS_PASSED]
    if isinstance(hours, bool) or not isinstance(hours, (int, float)) or hours < 0:
        raise NotUnderstoodError(f"its '{HOURS_PASSED}' is no number, 0 or more")
    return Line(user_id, device_id, None, HOURS_PASSED, hours * 3600)


def _read(text: object) -> Any:
    try:
        return json.loads(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        return _NOT_JSON


def _messages(read: Any) -> list[Any]:
    """Return the messages in what was read; itself where it is one."""
    if isinstance(read, dict) and isinstance(read.get("to_device"), dict):
        read = read["to_device"].get("events", [])
    return read if isinstance(read, list) else [read]


def _message(line: dict[str, Any]) -> dict[str, Any]:
    message = line.get("message", line)
    if "message_json" in line:
        message = _read(line["message_json"])
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
    if not isinstance(value, str) or not is_storable(value):
        raise NotUnderstoodError(f"its '{key}' is not a string that a database takes")
    return value

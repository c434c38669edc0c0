"""Read to-device messages, and what happens between them, from a file of JSON."""

from __future__ import annotations

import itertools
import json
from typing import Any, Iterable, Iterator, Union

import attrs

from synapse_withheld.rules.identifiers import is_storable

# Where a line does not say for whom a message is, one mailbox takes all.
RECIPIENT = "@recipient:example.org"
DEVICE = "DEVICE"

ACKNOWLEDGED = "acknowledged"
RESTARTED = "restarted"
DEVICE_CHANGED = "device_changed"
HOURS_PASSED = "hours_passed"

_SECONDS_PER_HOUR = 3600
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


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


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Return what the lines of a file hold, each with its number.

    A file that is one answer to a `/sync`, or one JSON array, on one line or on many,
    has its messages numbered from 1; otherwise lines are, and messages that share a
    line share its number.
    """
    rest: Iterator[tuple[int, str]] = enumerate(lines, start=1)
    first = list(itertools.islice(((n, text) for n, text in rest if text.strip()), 2))
    if not first:
        return
    number, text = first[0]
    first[0] = (number, text.lstrip(_BYTE_ORDER_MARK))
    whole = [text for _, text in first]
    if len(first) == 1 or isinstance(read_json(whole[0]), NotJSON):
        # On many lines, it is all of them or nothing.
        others = list(rest)
        document = read_json("".join([*whole, *(text for _, text in others)]))
        if not isinstance(document, NotJSON):
            yield from enumerate(_messages(document), start=1)
            return
        rest = iter(others)
    for at, line in itertools.chain(first, rest):
        if line.strip():
            yield from ((at, each) for each in _messages(read_json(line)))


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
    if HOURS_PASSED not in line:
        return Message(user_id, device_id, _message(line))
    hours = line[HOURS_PASSED]
    if isinstance(hours, bool) or not isinstance(hours, (int, float)) or hours < 0:
        raise NotUnderstoodError(f"its '{HOURS_PASSED}' is no number, 0 or more")
    return Happening(HOURS_PASSED, user_id, device_id, hours * _SECONDS_PER_HOUR)


def _messages(read: Any) -> list[Any]:
    """Return the messages in what was read; itself where it is one."""
    if isinstance(read, list):
        return read
    if isinstance(read, dict) and isinstance(read.get("to_device"), dict):
        events = read["to_device"].get("events")
        return events if isinstance(events, list) else []
    return [read]


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

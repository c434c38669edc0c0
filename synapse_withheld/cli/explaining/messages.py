"""Read to-device messages, and what happens between them, from a file of JSON."""

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping

from synapse_withheld.rules.identifiers import is_storable
from synapse_withheld.rules.mailbox import MailboxKey

# Where a line does not say for whom a message is, one mailbox takes all.
RECIPIENT: MailboxKey = ("@recipient:example.org", "DEVICE")

# About eleven years.
MOST_HOURS = 100_000

# PowerShell and Notepad begin files with it.
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


class NotUnderstoodError(Exception):
    """A line is neither a message nor something that can happen."""


def numbered(text: str) -> Iterator[tuple[int, Any]]:
    """Return what the lines of a file hold, each with its number.

    A file that is one answer to a `/sync`, or one JSON array, has its messages numbered
    from 1; otherwise lines are, and messages that share a line share its number. What
    is no JSON is `None`.
    """
    text = text.lstrip(_BYTE_ORDER_MARK)
    document = _read(text)
    if document is not None:
        yield from enumerate(_messages(document), start=1)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield from ((number, each) for each in _messages(_read(line)))


def mailbox_of(line: Any) -> MailboxKey:
    """Return the mailbox that a line is about; the device `*` is all of the user's."""
    if not isinstance(line, dict):
        raise NotUnderstoodError("it is not a JSON object")
    user_id, device_id = RECIPIENT
    mailbox = line.get("user_id", user_id), line.get("device_id", device_id)
    for key, value in zip(("user_id", "device_id"), mailbox):
        if not isinstance(value, str) or not is_storable(value):
            problem = f"its '{key}' is not a string that a database takes"
            raise NotUnderstoodError(problem)
    return mailbox


def hours_passed(line: Mapping[str, Any]) -> float | None:
    if "hours_passed" not in line:
        return None
    hours = line["hours_passed"]
    is_number = isinstance(hours, (int, float)) and not isinstance(hours, bool)
    # Python's JSON has numbers without an end.
    if not is_number or not 0 <= hours <= MOST_HOURS:
        problem = f"its 'hours_passed' is no number from 0 to {MOST_HOURS}"
        raise NotUnderstoodError(problem)
    return float(hours)


def message_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message that a line holds.

    It is an object with `sender`, `type` and `content`; or one that holds it as
    `message`, as recordings do; or its text as `message_json`, as Synapse's table does.
    """
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


def _read(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


def _messages(read: Any) -> list[Any]:
    """Return the messages in what was read; itself where it is one."""
    if isinstance(read, dict) and isinstance(read.get("to_device"), dict):
        read = read["to_device"].get("events", [])
    return read if isinstance(read, list) else [read]

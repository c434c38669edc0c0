"""What kinds of messages rows hold, told by their text: the type, and some codes."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Iterator, NamedTuple

from synapse_withheld.database.sql import decode
from synapse_withheld.rules.content import (
    MAX_ID_LENGTH,
    NO_OLM,
    OTHER,
    SESSION_CODES,
    WITHHELD_TYPES,
    code_of,
)
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.withheld import NoOlm


class Kind(NamedTuple):
    """What is counted together: a type, and of withheld messages the code."""

    type: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.type} ({self.code})" if self.code else self.type


# Of what is longer the kind is not remembered.
MOST_OF_END = 600

UNREADABLE = Kind("(unreadable)")
_CODES = frozenset({NO_OLM, *SESSION_CODES})
# An EDU with messages of several codes.
SEVERAL = "several"

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_MEMBER = rf"{_STRING}:{_STRING}"
_BEFORE_TYPE = ',"type":"'
# Where nothing but strings follows up to the end, this is the object itself and
# nothing inside of it. So Synapse writes mailboxes, and long wrote outboxes.
_AT_END = re.compile(rf',"type":({_STRING})(?:,{_MEMBER})*\}}\Z', re.DOTALL)
# As it writes outboxes now.
_AT_START = re.compile(rf'\{{(?:{_MEMBER},)*?"type":({_STRING})', re.DOTALL)


def kind_shown(text: str) -> Kind | None:
    """Return the kind as far as a text, or its two ends, show it: no code is told."""
    end = text[text.rfind(_BEFORE_TYPE) :]
    found = _kind_at_end(end) if len(end) <= MOST_OF_END else _kind(_AT_END, end)
    return _kind(_AT_START, text) if found is None else found


def kind_of(
    text: str,
    shown: Kind | None,
    notice: Notice | None = None,
    *,
    whole: bool = True,
) -> Kind:
    """Return the kind of what a row holds, given its text or, not `whole`, both ends.

    `shown` is what these show, and `notice` what a rule makes of it.
    """
    if shown is None:
        return _kind_by_reading(text) if whole else UNREADABLE
    if shown.type not in WITHHELD_TYPES or not whole:
        return shown
    if notice is None:
        return _kind_by_reading(text)
    # Without reading it again. A rule names only what is well-formed.
    code = NO_OLM if notice.rule.name == NoOlm.name else notice.variant
    return _with_code(shown, code if code in _CODES else OTHER)


@lru_cache(4096)
def _with_code(kind: Kind, code: str) -> Kind:
    return kind._replace(code=code)


# One sender has many rows that end alike.
@lru_cache(4096)
def _kind_at_end(end: str) -> Kind | None:
    return _kind(_AT_END, end)


def _kind(pattern: re.Pattern[str], text: str) -> Kind | None:
    found = pattern.match(text)
    if found is None:
        return None
    quoted = found[1]
    try:
        message_type = json.loads(quoted) if "\\" in quoted else quoted[1:-1]
    except ValueError:
        # It is cut in the middle.
        return None
    return Kind(message_type[:MAX_ID_LENGTH])


def _kind_by_reading(text: str) -> Kind:
    message = decode(text) or {}
    message_type = message.get("type")
    if not isinstance(message_type, str):
        return UNREADABLE
    if message_type not in WITHHELD_TYPES:
        return Kind(message_type[:MAX_ID_LENGTH])
    codes = {code_of(each) for each in _contents(message)}
    return Kind(message_type, codes.pop() if len(codes) == 1 else SEVERAL)


def _contents(message: dict[str, Any]) -> Iterator[Any]:
    by_user = message.get("messages")
    if "content" in message or not isinstance(by_user, dict):
        yield message.get("content")
        return
    for by_device in by_user.values():
        if isinstance(by_device, dict):
            yield from by_device.values()

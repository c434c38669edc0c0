"""Find the messages in a file: a line each, or an answer of Synapse as it came."""

from __future__ import annotations

import itertools
from typing import Any, Iterable, Iterator, Tuple

from synapse_withheld.cli.shared.explaining.messages import NotJSON, read_json

# The number of a line or of a message, and what JSON made of it.
Numbered = Tuple[int, Any]

_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


def numbered(lines: Iterable[str]) -> Iterator[Numbered]:
    """Return what the lines of a file hold.

    A file that is one answer to a `/sync`, or one JSON array, on one line or on many,
    has its messages numbered from 1; otherwise lines are, and messages that share a
    line share its number.
    """
    rest: Iterator[tuple[int, str]] = enumerate(lines, start=1)
    first = list(itertools.islice(((n, text) for n, text in rest if text.strip()), 2))
    if not first:
        return
    number, text = first[0]
    first[0] = (number, text.lstrip(_MARK))
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


def _messages(read: Any) -> list[Any]:
    """Return the messages in what was read; itself where it is one."""
    if isinstance(read, list):
        return read
    if isinstance(read, dict) and isinstance(read.get("to_device"), dict):
        events = read["to_device"].get("events")
        return events if isinstance(events, list) else []
    return [read]

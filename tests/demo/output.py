"""What those who watch a demonstration read: progress, and one table in the end."""

from __future__ import annotations

import sys
from typing import Iterator, Mapping, Sequence

import attrs

# A line of progress for each of these many requests.
LINE_EVERY = 500

NOTHING = "–"  # noqa: RUF001 an en dash is meant


@attrs.define
class Progress:
    """Lines on standard error, and how many of `total` requests were made."""

    total: int = 0
    _sent: int = attrs.field(default=0, init=False)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def sent(self) -> None:
        self._sent += 1
        if self._sent == self.total or self._sent % LINE_EVERY == 0:
            self.say(f"  {self._sent:,} of {self.total:,} requests")


def side_by_side(
    columns: Mapping[str, Mapping[str, str]], corner: str = ""
) -> list[tuple[str, ...]]:
    """Return the lines of a table, the names of its columns first.

    Args:
        columns: What each has to tell, by the label of the row.
        corner: What stands above the labels.
    """
    labels = dict.fromkeys(label for told in columns.values() for label in told)
    rows = [
        (label, *(told.get(label, NOTHING) for told in columns.values()))
        for label in labels
    ]
    return [(corner, *columns), *rows]


def aligned(cells: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Return lines of cells as text, the first the header; all but labels flush right.

    As Markdown, or for a terminal.
    """
    widths = [max(map(len, column)) for column in zip(*cells)]
    rule = ["-" * width for width in widths]
    if markdown:
        rule[1:] = [f"{dashes[1:]}:" for dashes in rule[1:]]
    header, *others = cells
    return "\n".join(_lines([header, rule, *others], widths, markdown=markdown))


def _lines(
    cells: Sequence[Sequence[str]], widths: Sequence[int], *, markdown: bool
) -> Iterator[str]:
    for label, *others in cells:
        padded = [label.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
        yield f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

"""What those who watch read: talk on standard error, tables on standard output."""

from __future__ import annotations

import sys
from typing import Mapping, Sequence

NOTHING = "–"  # noqa: RUF001 an en dash is meant


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(title: str, rows: Sequence[Mapping[str, object]], note: str) -> None:
    """Print a table as Markdown; what each row tells, by the columns' names."""
    lines = [[_text(value) for value in row.values()] for row in rows]
    table = aligned([list(rows[0]), *lines], markdown=True)
    print(f"### {title}\n\n{table}\n\n{note}\n", flush=True)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def side_by_side(
    columns: Mapping[str, Mapping[str, str]], corner: str = ""
) -> list[list[str]]:
    """Return the lines of a table: columns have texts by the label of their row."""
    labels = dict.fromkeys(label for told in columns.values() for label in told)
    told = [
        [label, *(each.get(label, NOTHING) for each in columns.values())]
        for label in labels
    ]
    return [[corner, *columns], *told]


def aligned(cells: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Return lines of cells as text, the first the header; all but labels flush right.

    As Markdown, or for a terminal.
    """
    widths = [max(map(len, column)) for column in zip(*cells)]
    first, *others = ["-" * width for width in widths]
    rule = [first, *(f"{each[1:]}:" if markdown else each for each in others)]
    lines = []
    for label, *told in (cells[0], rule, *cells[1:]):
        padded = [label.ljust(widths[0]), *map(str.rjust, told, widths[1:])]
        line = f"| {' | '.join(padded)} |" if markdown else "  ".join(padded)
        lines.append(line.rstrip())
    return "\n".join(lines)

"""Tables for a terminal."""

from __future__ import annotations

from typing import Any, Sequence


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a table; columns with numbers are flush right."""
    right = [any(isinstance(cell, int) for cell in column) for column in zip(*rows)]
    cells = [tuple(map(_shown, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right)
        ).rstrip()
        for row in cells
    ]


def printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor."""
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def _shown(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else printable(str(cell))

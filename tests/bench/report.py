"""Tables as Markdown on standard output, progress on standard error."""

from __future__ import annotations

import sys
from typing import Mapping, Sequence

from tests.demo.output import aligned


def show(title: str, rows: Sequence[Mapping[str, object]], note: str) -> None:
    """Print a table; what each row tells, by the columns' names."""
    lines = [[_text(value) for value in row.values()] for row in rows]
    cells = aligned([list(rows[0]), *lines], markdown=True)
    print(f"### {title}\n\n{cells}\n\n{note}\n", flush=True)  # noqa: T201 data


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def ratio(module: float, stock: float) -> object:
    return module / stock if stock else "–"  # noqa: RUF001 a dash


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 talk

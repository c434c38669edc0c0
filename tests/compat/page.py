"""The table of docs/compatibility.md."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from tests.compat.environments import Run
from tests.compat.shapes import key

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN = "<!-- runs: written by `python -m tests.compat --page` -->\n"
HEADER = """\
| Synapse | Python | outcome | tests | run on |
| --- | --- | --- | --- | --- |
"""


def line(run: Run, day: dt.date | None = None) -> str:
    """Return the line of a run."""
    day = day or dt.datetime.now(tz=dt.timezone.utc).date()
    return f"| {run.synapse} | {run.python} | {run.outcome} | {run.counts} | {day} |"


def write(run: Run) -> None:
    """Put a run into the table, in the place of an earlier one of the kind."""
    before, _, table = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + with_line(table, run, line(run)))


def with_line(table: str, run: Run, new: str) -> str:
    """Return a table with the line of a run, newest versions first."""
    rows = [each for each in table.splitlines() if re.match(r"\| \d", each)]
    kept = [
        each for each in rows if not each.startswith(f"| {run.synapse} | {run.python} ")
    ]
    rows = sorted([*kept, new], key=_place, reverse=True)
    return HEADER + "\n".join(rows) + "\n"


def _place(row: str) -> tuple[tuple[int, ...], str]:
    _, synapse, python, *_ = (each.strip() for each in row.split("|"))
    return key(synapse), python

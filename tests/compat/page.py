"""The tables of docs/compatibility.md."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from tests.compat.environments import Run
from tests.compat.shapes import key

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
# What a table comes after: the end-to-end tests, and the unit and model tests.
RUNS = "<!-- runs: written by `python -m tests.compat --page` -->\n"
FAST = "<!-- Pythons: written by `python -m tests.compat --fast --page` -->\n"
HEADER = """\
| Synapse | Python | outcome | tests | run on |
| --- | --- | --- | --- | --- |
"""


def line(run: Run, day: dt.date | None = None) -> str:
    """Return the line of a run."""
    day = day or dt.datetime.now(tz=dt.timezone.utc).date()
    return f"| {run.synapse} | {run.python} | {run.outcome} | {run.counts} | {day} |"


def write(run: Run, begin: str) -> None:
    """Put a run into a table, in the place of an earlier one of the kind."""
    PAGE.write_text(with_run(PAGE.read_text(), begin, run, line(run)))


def with_run(page: str, begin: str, run: Run, new: str) -> str:
    """Return a page with the line of a run in the table after `begin`."""
    before, _, after = page.partition(begin)
    table, end, rest = after.partition("\n\n")
    return before + begin + with_line(table, run, new) + (end and "\n") + rest


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

"""The tables of docs/compatibility.md, and what `check` knows of them."""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.compat.environments import Run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
TESTED = ROOT / "synapse_withheld" / "cli" / "shared" / "tested.py"
# What a table comes after: the end-to-end tests, the unit and model tests, and the
# few for every release.
RUNS = "<!-- runs: written by `python -m tests.compat --page` -->\n"
FAST = "<!-- Pythons: written by `python -m tests.compat --fast --page` -->\n"
RELEASES = "<!-- releases: written by `python -m tests.compat --short --page` -->\n"


def line(run: Run) -> str:
    return (
        f"| {run.synapse} | {run.python} | {run.outcome} | {run.counts} | {_today()} |"
    )


def write(run: Run, begin: str) -> None:
    """Put a run into a table, in the place of an earlier one; newest versions first."""
    before, _, after = PAGE.read_text().partition(begin)
    table, end, rest = after.partition("\n\n")
    head, rule, *rows = table.splitlines()
    by_place = {_place(row): row for row in rows}
    new = _of_minor(run, by_place) if begin == RELEASES else line(run)
    by_place[_place(new)] = new
    rows = [by_place[place] for place in sorted(by_place, reverse=True)]
    page = before + begin + "\n".join([head, rule, *rows]) + (end or "\n") + rest
    PAGE.write_text(page)
    if begin == RELEASES:
        before, begin, _ = TESTED.read_text().partition('"""\\\n')
        told = textwrap.fill(" ".join(passed(page)), 86)
        TESTED.write_text(f'{before}{begin}{told}\n"""\n')


def passed(page: str) -> list[str]:
    table = page.partition(RELEASES)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| \d[^|]*\|[^|]*\|([^|]*)\|", table, re.M)
    return sorted((each for row in rows for each in row.split()), key=Version)


def _of_minor(run: Run, by_place: dict[Any, str]) -> str:
    """Return the line of a minor version with a run of one of its releases."""
    minor = ".".join(run.synapse.split(".")[:2])
    cells = by_place.get((Version(minor), run.python), "|||||").split("|")[3:5]
    by_outcome = {
        outcome: {*cell.split()} - {run.synapse}
        for outcome, cell in zip(("passed", "failed"), cells)
    }
    by_outcome[run.outcome].add(run.synapse)
    told = [" ".join(sorted(each, key=Version)) for each in by_outcome.values()]
    return f"| {minor} | {run.python} | {' | '.join(told)} | {_today()} |"


def _place(row: str) -> tuple[Version, str]:
    _, synapse, python, *_ = (each.strip() for each in row.split("|"))
    return Version(synapse), python


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.timezone.utc).date()

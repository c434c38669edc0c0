"""The tables of docs/compatibility.md, and what `check` knows of them."""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from pathlib import Path

import attrs

from tests.compat.environments import Run
from tests.compat.shapes import key

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
TESTED = ROOT / "synapse_withheld" / "cli" / "shared" / "tested.py"
# What a table comes after: the end-to-end tests, the unit and model tests, and the
# few for every release.
RUNS = "<!-- runs: written by `python -m tests.compat --page` -->\n"
FAST = "<!-- Pythons: written by `python -m tests.compat --fast --page` -->\n"
RELEASES = "<!-- releases: written by `python -m tests.compat --short --page` -->\n"


def line(run: Run, day: dt.date | None = None) -> str:
    day = day or dt.datetime.now(tz=dt.timezone.utc).date()
    return f"| {run.synapse} | {run.python} | {run.outcome} | {run.counts} | {day} |"


def write(run: Run, begin: str) -> None:
    """Put a run into a table, in the place of an earlier one of the kind."""
    PAGE.write_text(with_run(PAGE.read_text(), begin, run, line(run)))


def write_release(run: Run) -> None:
    """Put a release into the line of its minor version, and tell `check` of it."""
    page = PAGE.read_text()
    minor = attrs.evolve(run, synapse=".".join(run.synapse.split(".")[:2]))
    day = dt.datetime.now(tz=dt.timezone.utc).date()
    row = with_release(page.partition(RELEASES)[2], run, minor, day)
    page = with_run(page, RELEASES, minor, row)
    PAGE.write_text(page)
    before, begin, _ = TESTED.read_text().partition('"""\\\n')
    told = textwrap.fill(" ".join(passed(page)), 86)
    TESTED.write_text(f'{before}{begin}{told}\n"""\n')


def with_release(table: str, run: Run, minor: Run, day: dt.date) -> str:
    """Return the line of a minor version with a run of one of its releases."""
    found = re.search(rf"^\| {minor.synapse} \| {run.python} \|(.*)\|", table, re.M)
    cells = found[1].split("|") if found else ["", "", ""]
    by_outcome = {
        outcome: {*cell.split()} - {run.synapse}
        for outcome, cell in zip(("passed", "failed"), cells)
    }
    by_outcome[run.outcome].add(run.synapse)
    told = [" ".join(sorted(each, key=key)) for each in by_outcome.values()]
    return f"| {minor.synapse} | {run.python} | {' | '.join(told)} | {day} |"


def passed(page: str) -> list[str]:
    table = page.partition(RELEASES)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| \d[^|]*\|[^|]*\|([^|]*)\|", table, re.M)
    return sorted((each for row in rows for each in row.split()), key=key)


def with_run(page: str, begin: str, run: Run, new: str) -> str:
    """Return a page with the line of a run in the table after `begin`."""
    before, _, after = page.partition(begin)
    table, end, rest = after.partition("\n\n")
    return before + begin + with_line(table, run, new) + (end and "\n") + rest


def with_line(table: str, run: Run, new: str) -> str:
    """Return a table with the line of a run, newest versions first."""
    lines = table.splitlines()
    rows = [each for each in lines if re.match(r"\| \d", each)]
    kept = [
        each for each in rows if not each.startswith(f"| {run.synapse} | {run.python} ")
    ]
    rows = sorted([*kept, new], key=_place, reverse=True)
    return "\n".join([*lines[:2], *rows]) + "\n"


def _place(row: str) -> tuple[tuple[int, ...], str]:
    _, synapse, python, *_ = (each.strip() for each in row.split("|"))
    return key(synapse), python

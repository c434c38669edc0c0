"""The table of breaks in `docs/development.md`."""

from __future__ import annotations

from typing import Iterable

from tests.breaks.model import Break

BEGIN = "<!-- breaks: written by `python -m tests.breaks --write` -->\n"
END = "<!-- end of breaks -->\n"


def table(breaks: Iterable[Break]) -> str:
    """Return breaks as a table in Markdown."""
    rows = [(each.clause, f"`{each.file}`", f"`{each.test}`") for each in breaks]
    header = [("what breaks", "in", "the test that notices"), ("---", "---", "---")]
    return "".join(f"| {' | '.join(row)} |\n" for row in header + rows)


def table_in(document: str) -> str:
    """Return the table that a document holds between the two marks."""
    return document.partition(BEGIN)[2].partition(END)[0]


def with_table(document: str, breaks: Iterable[Break]) -> str:
    """Return a document with a new table between the two marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}{table(breaks)}{end}{after}"

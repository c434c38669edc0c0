"""Tables and targets, as Markdown."""

from __future__ import annotations

from typing import Sequence

import attrs

MET, NOT_MET = "met", "NOT MET"


@attrs.frozen
class Table:
    """One table.

    Attributes:
        title: What it shows.
        header: The names of the columns; all but the first hold numbers.
        rows: The cells.
        notes: How the numbers came about.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@attrs.frozen
class Target:
    """What should be, and what is.

    Attributes:
        name: What was measured.
        wanted: What should come out.
        measured: What did.
        met: Whether that is as wanted.
        binding: Whether missing it fails the run. Timings never do: they say as
            much about the machine and its other work.
    """

    name: str
    wanted: str
    measured: str
    met: bool
    binding: bool


@attrs.frozen
class Findings:
    """What one part of the benchmark found."""

    tables: Sequence[Table] = ()
    targets: Sequence[Target] = ()


def render(table: Table) -> str:
    """Return a table as Markdown, with its title and notes."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(line, widths) for line in (table.header, rule, *table.rows)]
    notes = [f"- {note}" for note in table.notes]
    parts = [f"### {table.title}", "\n".join(lines), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part)


def summary(targets: Sequence[Target]) -> Table:
    """Return the table of all targets."""
    return Table(
        "Summary",
        ("target", "wanted", "measured", "kind", "outcome"),
        [
            (
                each.name,
                each.wanted,
                each.measured,
                "count" if each.binding else "timing",
                MET if each.met else NOT_MET,
            )
            for each in targets
        ],
        ["Only a target about counts fails the run; timings are reported."],
    )


def failed(targets: Sequence[Target]) -> list[Target]:
    """Return the targets that fail the run."""
    return [each for each in targets if each.binding and not each.met]


def ratio(module: float, stock: float) -> str:
    """Return module over stock, `–` where stock has none."""  # noqa: RUF002 a dash
    return f"{module / stock:.2f}" if stock else "–"  # noqa: RUF001 a dash


def number(value: float, digits: int = 2) -> str:
    """Return a number, without decimals where there are none."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.{digits}f}"


def counted(count: int, thing: str) -> str:
    """Return how many there are of something."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths))
    )
    return f"| {' | '.join([first, *others])} |"

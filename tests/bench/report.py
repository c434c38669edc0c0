"""Tables and targets, as Markdown."""

from __future__ import annotations

from typing import Sequence

import attrs

from tests.demo.output import aligned

MET, NOT_MET = "met", "NOT MET"


@attrs.frozen
class Table:
    """One table.

    Attributes:
        header: The names of the columns; all but the first hold numbers.
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
        binding: Whether missing it fails the run. Timings never do: they say as
            much about the machine and its other work.
    """

    name: str
    wanted: str
    measured: str
    met: bool
    binding: bool

    @classmethod
    def most(
        cls, name: str, measured: float, limit: float, *, binding: bool = False
    ) -> Target:
        """Return the target that a number is at most so large."""
        met = measured <= limit
        return cls(name, f"≤ {limit:g}", f"{measured:.2f}", met, binding)

    @classmethod
    def least(cls, name: str, measured: float, limit: float) -> Target:
        """Return the target that a number is at least so large."""
        met = measured >= limit
        return cls(name, f"≥ {limit:g}", f"{measured:.2f}", met, binding=False)


@attrs.frozen
class Findings:
    tables: Sequence[Table] = ()
    targets: Sequence[Target] = ()

    @classmethod
    def joined(cls, parts: Sequence[Findings]) -> Findings:
        return cls(
            [table for each in parts for table in each.tables],
            [target for each in parts for target in each.targets],
        )


def render(table: Table) -> str:
    """Return a table as Markdown, with its title and notes."""
    cells = aligned([table.header, *table.rows], markdown=True)
    notes = "\n".join(f"- {note}" for note in table.notes)
    parts = [f"### {table.title}", cells, notes]
    return "\n\n".join(part for part in parts if part)


def summary(targets: Sequence[Target]) -> Table:
    rows = [
        (
            each.name,
            each.wanted,
            each.measured,
            "count" if each.binding else "timing",
            MET if each.met else NOT_MET,
        )
        for each in targets
    ]
    header = ("target", "wanted", "measured", "kind", "outcome")
    notes = ["Only a target about counts fails the run; timings are reported."]
    return Table("Summary", header, rows, notes)


def failed(targets: Sequence[Target]) -> list[Target]:
    return [each for each in targets if each.binding and not each.met]


def ratio(module: float, stock: float) -> str:
    """Return module over stock, `–` where stock has none."""  # noqa: RUF002 a dash
    return f"{module / stock:.2f}" if stock else "–"  # noqa: RUF001 a dash

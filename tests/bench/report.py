"""Tables and targets, as Markdown."""

from __future__ import annotations

import sys
from typing import List, Sequence, Union

import attrs

from tests.demo.output import aligned


@attrs.frozen
class Table:
    """One table; all columns but the first hold numbers.

    Attributes:
        note: How the numbers came about.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    def __str__(self) -> str:
        cells = aligned([self.header, *self.rows], markdown=True)
        return f"### {self.title}\n\n{cells}\n\n- {self.note}\n"


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
    binding: bool = False

    @classmethod
    def most(
        cls, name: str, measured: float, limit: float, *, binding: bool = False
    ) -> Target:
        met = measured <= limit
        return cls(name, f"≤ {limit:g}", f"{measured:.2f}", met, binding)

    @classmethod
    def least(cls, name: str, measured: float, limit: float) -> Target:
        return cls(name, f"≥ {limit:g}", f"{measured:.2f}", measured >= limit)


Findings = List[Union[Table, Target]]


def summary(targets: Sequence[Target]) -> Table:
    rows = [
        (
            *(each.name, each.wanted, each.measured),
            "count" if each.binding else "timing",
            "met" if each.met else "NOT MET",
        )
        for each in targets
    ]
    header = ("target", "wanted", "measured", "kind", "outcome")
    note = "Only a target about counts fails the run; timings are reported."
    return Table("Summary", header, rows, note)


def ratio(module: float, stock: float) -> str:
    """Return module over stock, `–` where stock has none."""  # noqa: RUF002 a dash
    return f"{module / stock:.2f}" if stock else "–"  # noqa: RUF001 a dash


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 talk

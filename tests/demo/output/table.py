"""One table: stock Synapse beside Synapse with the module."""

from __future__ import annotations

import re
from typing import Iterable, Mapping, Sequence

from tests.demo.driving import Measured
from tests.harness.metrics.samples import FAILURES, TIDIED, total

DECISION = re.compile(
    r'synapse_withheld_decisions_total\{decision="(?P<decision>\w+)",'
    r'queue="inbox",reason="(?P<reason>\w+)",rule="\w+"\}'
)
COLLAPSED_BYTES = "synapse_withheld_collapsed_bytes_total"
TRACKED_PAIRS = "synapse_withheld_tracked_pairs"

NOTHING = "–"  # noqa: RUF001 an en dash is meant
HEADER = ("", "stock", "with module")


def make_rows(stock: Measured, module: Measured) -> list[tuple[str, str, str]]:
    """Put what was measured without and with the module side by side."""
    # Of all devices, as the module's metrics count them: so the numbers add up.
    boxes, sizes, syncs, times, failed = zip(*map(_told, (stock, module)))
    rows = [
        ("rows in the mailboxes", *boxes),
        ("bytes in the mailboxes", *sizes),
        ("syncs until the last room key", *syncs),
        ("time until the last room key", *times),
        ("requests that failed", *failed),
    ]
    told = _of(module.metrics)
    return rows + [(label, NOTHING, f"{value:,.0f}") for label, value in told]


def aligned(cells: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Return lines of cells as text, the first the header; all but labels flush right.

    As Markdown, or for a terminal.
    """
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [_line(line, widths, markdown=markdown) for line in cells]
    rule = ["-" * width for width in widths]
    if markdown:
        rule[1:] = [f"{dashes[1:]}:" for dashes in rule[1:]]
    lines.insert(1, _line(rule, widths, markdown=markdown))
    return "\n".join(lines)


def _of(metrics: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    for name, value in sorted(metrics.items()):
        # All of them are there from the start.
        if value and (found := DECISION.fullmatch(name)):
            yield f"decisions: {found['decision']}, {found['reason']}", value
    yield "superseded rows deleted", total(metrics, TIDIED)
    yield "bytes collapsed", total(metrics, COLLAPSED_BYTES)
    yield "failures of the module", total(metrics, FAILURES)
    yield "pairs tracked", total(metrics, TRACKED_PAIRS)


def _told(one: Measured) -> tuple[str, ...]:
    texts = [text for rows in one.mailboxes.values() for text in rows]
    size = sum(len(text.encode()) for text in texts)
    numbers = f"{len(texts):,}", f"{size:,}", f"{one.catchup.syncs:,}"
    return (*numbers, f"{one.catchup.seconds * 1000:,.0f} ms", f"{one.failed:,}")


def _line(cells: Sequence[str], widths: Sequence[int], *, markdown: bool) -> str:
    label, *others = (cell.rjust(width) for cell, width in zip(cells, widths))
    padded = cells[0].ljust(len(label)), *others
    return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

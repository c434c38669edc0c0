"""What `synapse-withheld sweep` shows."""

from __future__ import annotations

import json
import sys
from typing import Callable, TextIO

import attrs

from synapse_withheld.sweep.walk import Counts, Progress

_WIDTH = 30


class Bar:
    """A progress bar on standard error, if that is a terminal."""

    def __init__(self, rows: int, stream: TextIO | None = None) -> None:
        """Show nothing yet.

        Args:
            rows: How many rows there are, about; 0 if unknown.
            stream: Where to show it.
        """
        self._rows = rows
        self._stream = stream or sys.stderr

    def __enter__(self) -> Bar:
        self.show(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\n")

    def show(self, rows: int) -> None:
        """Show that so many rows were looked at."""
        self._write("\r" + drawn(rows, self._rows))

    def _write(self, text: str) -> None:
        if self._stream.isatty():
            self._stream.write(text)
            self._stream.flush()


def drawn(rows: int, of_about: int) -> str:
    """Return a bar, as far as it is known how many rows there are."""
    if not of_about:
        return f"{rows:,} rows"
    share = min(1.0, rows / of_about)
    filled = int(share * _WIDTH)
    bar = "#" * filled + "-" * (_WIDTH - filled)
    return f"[{bar}] {share:4.0%}  {rows:,} of about {of_about:,} rows"


def in_text(progress: Progress, *, dry_run: bool) -> str:
    """Return the summary of a sweep."""
    total = progress.total
    lines = [
        ("rows looked at", progress.rows),
        ("notices", total.notices),
        *_by_rule(progress, lambda counts: counts.notices),
        ("redundant", total.redundant),
        *_by_rule(progress, lambda counts: counts.redundant),
        ("left: device being deleted", total.left_alone),
    ]
    if dry_run:
        lines.append(("would be deleted", total.redundant - total.left_alone))
        lines.append(("bytes that would go", total.bytes))
    else:
        lines.append(("deleted", total.deleted))
        lines.append(("bytes deleted", total.bytes))
    width = max(len(name) for name, _ in lines)
    in_lines = [f"{name:<{width}} {count:>15,}" for name, count in lines]
    if not progress.done:
        in_lines.append("stopped before the end")
    return "\n".join(in_lines)


def in_json(progress: Progress, *, dry_run: bool) -> str:
    """Return the same as a JSON object."""
    said = {
        "dry_run": dry_run,
        "rows": progress.rows,
        **attrs.asdict(progress.total),
        "rules": {name: attrs.asdict(each) for name, each in progress.rules.items()},
        "done": progress.done,
    }
    return json.dumps(said)


def _by_rule(
    progress: Progress, count: Callable[[Counts], int]
) -> list[tuple[str, int]]:
    return [(f"  of rule {rule}", count(each)) for rule, each in progress.rules.items()]

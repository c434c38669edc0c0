"""A progress bar."""

from __future__ import annotations

import sys
from typing import TextIO

_WIDTH = 30


class Bar:
    """A progress bar on standard error, if that is a terminal."""

    def __init__(self, rows: int, stream: TextIO | None = None) -> None:
        """Show nothing yet of about so many rows, 0 if it is unknown how many."""
        self._rows = rows
        self._stream = stream or sys.stderr

    def __enter__(self) -> Bar:
        self.show(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\n")

    def show(self, rows: int) -> None:
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

"""Tell on standard error how far the demonstration is."""

from __future__ import annotations

from typing import TextIO

import attrs

# A line for each of these many requests, where there is no terminal to count on.
LINE_EVERY = 500


@attrs.define
class Progress:
    """Plain lines; on a terminal, a counter of `total` requests besides."""

    stream: TextIO
    total: int = 0
    _sent: int = attrs.field(default=0, init=False)

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def sent(self) -> None:
        """Count a request."""
        self._sent += 1
        last = self._sent == self.total
        text = f"  {self._sent:,} of {self.total:,} requests"
        if self.stream.isatty():
            print(f"\r{text}", end="\n" * last, file=self.stream, flush=True)
        elif last or self._sent % LINE_EVERY == 0:
            self.say(text)

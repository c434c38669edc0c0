"""Tell on standard error how far the demonstration is."""

from __future__ import annotations

from typing import TextIO

import attrs

# A line for each of these many requests.
LINE_EVERY = 500


@attrs.define
class Progress:
    """Plain lines, and how many of `total` requests were made."""

    stream: TextIO
    total: int = 0
    _sent: int = attrs.field(default=0, init=False)

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def sent(self) -> None:
        self._sent += 1
        if self._sent == self.total or self._sent % LINE_EVERY == 0:
            self.say(f"  {self._sent:,} of {self.total:,} requests")

"""What `survey` and `sweep` have in common: how they are asked, rest and end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from typing import Any, Coroutine, Iterator, TypeVar

from synapse_withheld.cli.arguments import add_config, seconds, whole_number
from synapse_withheld.sweep.walk import MOST_BATCH_SIZE, PAUSE_S

T = TypeVar("T")

_WIDTH = 30


def add_arguments(parser: argparse.ArgumentParser, batch_size: int) -> None:
    add_config(parser)
    parser.add_argument(
        "--batch-size",
        type=whole_number(MOST_BATCH_SIZE),
        default=batch_size,
        metavar="ROWS",
        help=f"how many rows to look at between rests (default: {batch_size})",
    )
    parser.add_argument(
        "--pause",
        # It may be none at all.
        type=lambda text: 0 if text == "0" else seconds(text),
        default=PAUSE_S,
        metavar="DURATION",
        help="how long to rest after each batch, such as 2s; 0 not to rest "
        "(default: a tenth of a second)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Give what Ctrl-C and SIGTERM set, so that a batch comes to its end."""
    stopped = threading.Event()
    earlier = [
        (each, signal.signal(each, lambda *_: stopped.set()))
        for each in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield stopped
    finally:
        for each, handler in earlier:
            signal.signal(each, handler)


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never has to wait: here every statement answers at once."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError


class Bar:
    """A progress bar on standard error, if that is a terminal."""

    def __init__(self, of_about: int) -> None:
        """Show nothing yet of about so many rows, 0 if it is unknown how many."""
        self._of_about = of_about

    def __enter__(self) -> Bar:
        self.show(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\n")

    def show(self, rows: int) -> None:
        text = f"{rows:,}"
        if self._of_about:
            share = min(1.0, rows / self._of_about)
            bar = ("#" * int(share * _WIDTH)).ljust(_WIDTH, "-")
            text = f"[{bar}] {share:4.0%}  {rows:,} of about {self._of_about:,}"
        self._write(f"\r{text} rows")

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(text)
            sys.stderr.flush()

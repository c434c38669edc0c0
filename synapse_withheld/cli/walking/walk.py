"""What `survey` and `sweep` have in common: how they are asked, rest and end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from typing import Any, Callable, Coroutine, Iterator, TypeVar

from synapse_withheld.cli.arguments import add_config, seconds, whole_number
from synapse_withheld.sweep.walk import MOST_BATCH_SIZE, PAUSE_S

T = TypeVar("T")

# Called after each batch with how many rows there were so far, and how long to rest:
# it rests, and returns whether to stop.
Rest = Callable[[int, float], bool]

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


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never has to wait: here every statement answers at once."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError


@contextmanager
def handled(handler: Any) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM in another way meanwhile."""
    earlier = [
        (each, signal.signal(each, handler)) for each in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield
    finally:
        for each, before in earlier:
            signal.signal(each, before)


@contextmanager
def resting(of_about: int) -> Iterator[Rest]:
    """Give what rests until Ctrl-C or SIGTERM, and shows on a terminal how far it is.

    Of about so many rows, 0 if it is unknown how many.
    """
    stopped = threading.Event()

    def rest(rows: int, pause_s: float) -> bool:
        text = f"{rows:,}"
        if of_about:
            share = min(1.0, rows / of_about)
            bar = ("#" * int(share * _WIDTH)).ljust(_WIDTH, "-")
            text = f"[{bar}] {share:4.0%}  {rows:,} of about {of_about:,}"
        _write(f"\r{text} rows")
        return stopped.wait(pause_s)

    with handled(lambda *_: stopped.set()):
        try:
            rest(0, 0)
            yield rest
        finally:
            _write("\n")


def _write(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()

"""`synapse-withheld status`: the module's numbers, of all processes together."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from synapse_withheld.cli.shared.codes import CANNOT_SAY, OK, WRONG
from synapse_withheld.cli.shared.fetching import UnreachableError
from synapse_withheld.cli.shared.metrics_page import (
    Page,
    Totals,
    add_up,
    complete,
    fetch,
)
from synapse_withheld.cli.shared.reactor import in_reactor

EPILOG = """\
example:
  synapse-withheld status http://127.0.0.1:9000
  synapse-withheld status --watch http://127.0.0.1:9000 http://127.0.0.1:9001

The numbers count since each process started. Only the process that writes
to-device messages counts, so all others add nothing. A URL without a path is taken
for one of Synapse's metrics listeners.

exit codes: 0 every listener was read, 1 some were not or have not loaded the
module, 2 none could be read
"""

# Moves to the upper left corner and clears what is below.
_CLEAR = "\x1b[H\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "urls", nargs="+", type=complete, metavar="URL", help="a metrics listener"
    )
    parser.add_argument("--watch", action="store_true", help="refresh until Ctrl-C")
    parser.add_argument(
        "--every",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long to wait between refreshing (default: 2)",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Show the numbers, once or until interrupted; return the exit code."""
    if not arguments.watch:
        return in_reactor(lambda: _show(arguments), CANNOT_SAY)
    # To be interrupted is how this is meant to end.
    return in_reactor(lambda: _watch(arguments), OK)


def in_text(totals: Totals) -> str:
    """Return the numbers as a table."""
    share = "-" if totals.share is None else f"{totals.share:.1%}"
    rows = [
        ("processes", f"{totals.processes:,}"),
        ("of these acting", f"{totals.active:,}"),
        ("mode", ", ".join(totals.modes) or "-"),
        ("notices seen", f"{totals.seen:,}"),
        *((f"  of rule {rule}", f"{seen:,}") for rule, seen in totals.rules.items()),
        ("collapsed", f"{totals.collapsed:,}"),
        ("superseded a queued one", f"{totals.superseded:,}"),
        ("share collapsed", share),
        ("bytes saved", f"{totals.bytes_saved:,}"),
        ("failures", f"{totals.failures:,}"),
        ("tracked pairs", f"{totals.tracked_pairs:,}"),
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        f"{label.ljust(widths[0])}  {value.rjust(widths[1])}" for label, value in rows
    )


def in_json(totals: Totals) -> str:
    """Return the numbers as a JSON object."""
    return json.dumps({**attrs.asdict(totals), "share": totals.share})


async def _watch(arguments: argparse.Namespace) -> int:
    while True:
        await _show(arguments, clear=sys.stdout.isatty() and not arguments.json)
        await deferLater(_clock(), arguments.every, lambda: None)


async def _show(arguments: argparse.Namespace, *, clear: bool = False) -> int:
    urls: list[str] = arguments.urls
    pages = await gatherResults([Deferred.fromCoroutine(_try(url)) for url in urls])
    read = [page for page in pages if page is not None]
    if not read:
        return CANNOT_SAY
    totals = add_up(read)
    text = in_json(totals) if arguments.json else in_text(totals)
    # At once, so that a pipe sees each refreshing.
    print(f"{_CLEAR if clear else ''}{text}", flush=True)
    with_module = all(page is not None and page.samples for page in pages)
    return OK if with_module else WRONG


async def _try(url: str) -> Page | None:
    """Read a listener; say what is wrong with it if something is."""
    try:
        page = await fetch(url)
    except UnreachableError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return None
    if not page.samples:
        print(f"{url}: this process did not load the module", file=sys.stderr)
    return page


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _clock() -> Any:
    # Twisted decides at run time what kind it is.
    return reactor

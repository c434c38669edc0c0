"""`synapse-withheld status`: the module's numbers, of all processes together."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import sleep
from typing import Iterator

import attrs

from synapse_withheld.cli.codes import CANNOT_SAY, OK, WRONG
from synapse_withheld.cli.duration import seconds
from synapse_withheld.cli.homeserver.address import Address
from synapse_withheld.cli.homeserver.configuration import (
    MAIN_PROCESS,
    ConfigProblemError,
    Deployment,
    add_config_argument,
    read,
)
from synapse_withheld.cli.homeserver.fetching import UnreachableError, first
from synapse_withheld.cli.homeserver.listeners import (
    NoMetricsError,
    metrics_addresses,
)
from synapse_withheld.cli.homeserver.numbers import (
    Page,
    Totals,
    add_up,
    complete,
    fetch,
)
from synapse_withheld.cli.tables import table

EPILOG = """\
example:
  synapse-withheld status -c homeserver.yaml
  synapse-withheld status --watch http://127.0.0.1:9000 http://127.0.0.1:9001

The numbers count since each process started. Only the process that writes
to-device messages counts, so all others add nothing. A URL without a path is taken
for one of Synapse's metrics listeners. With workers, -c takes their files as well.

exit codes: 0 every process was read, 1 some were not or have not loaded the
module, 2 none could be read
"""

# Moves to the upper left corner and clears what is below.
_CLEAR = "\x1b[H\x1b[J"

# What the numbers are called that tell what was done; and in `mode: observe`, where
# nothing is.
_DID = ("collapsed", "superseded a queued one", "share collapsed", "bytes saved")
_WOULD_HAVE = (
    "would have collapsed",
    "would have superseded one",
    "share of these",
    "bytes it would have saved",
)


@attrs.frozen
class Process:
    """One to be asked.

    Attributes:
        name: How it is called when it cannot be.
        addresses: Where it tells its metrics; none where it tells them nowhere.
        problem: Why there are none.
    """

    name: str
    addresses: list[Address]
    problem: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "urls", nargs="*", type=complete, metavar="URL", help="a metrics listener"
    )
    what_for = ", to find the listeners of its processes in"
    add_config_argument(parser, what_for, required=False)
    parser.add_argument("--watch", action="store_true", help="refresh until Ctrl-C")
    parser.add_argument(
        "--every",
        type=seconds,
        default=2.0,
        metavar="DURATION",
        help="how long to wait between refreshing (default: 2s)",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.set_defaults(misused=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Show the numbers, once or until interrupted; return the exit code."""
    if not arguments.urls and not arguments.config_path:
        arguments.misused("name a metrics listener, or give -c homeserver.yaml")
    try:
        found = [Process(str(url), [url]) for url in arguments.urls]
        if arguments.config_path:
            found += processes(read(arguments.config_path))
    except (OSError, ConfigProblemError) as error:
        print(f"cannot read the configuration: {error}", file=sys.stderr)
        return CANNOT_SAY
    if not arguments.watch:
        return _show(arguments, found)
    clear = _CLEAR if sys.stdout.isatty() and not arguments.json else ""
    # To be interrupted is how this is meant to end.
    with suppress(KeyboardInterrupt):
        while True:
            _show(arguments, found, clear)
            sleep(arguments.every)
    return OK


def processes(deployment: Deployment) -> Iterator[Process]:
    """Give all that files of configuration tell of.

    Raises:
        ConfigProblemError: They do not say who writes.
    """
    # Without the writer the numbers say nothing.
    names = [MAIN_PROCESS, *deployment.workers, deployment.writer]
    for name in dict.fromkeys(names):
        config = deployment.config_of(name)
        if config is None:
            problem = "it writes to-device messages; add -c with its file"
            yield Process(name, [], problem)
            continue
        try:
            addresses = metrics_addresses(config, worker=name != MAIN_PROCESS)
            yield Process(name, addresses)
        except NoMetricsError as error:
            instead = "; or run 'check' with --token-file, which asks the page"
            problem = f"{error}{instead if name == deployment.writer else ''}"
            yield Process(name, [], problem)
        except ConfigProblemError as error:
            yield Process(name, [], str(error))


def in_text(totals: Totals) -> str:
    """Return the numbers as a table."""
    words = _WOULD_HAVE if totals.only_observed else _DID
    collapsed, superseded, share, bytes_saved = words
    rows = [
        ("processes", f"{totals.processes:,}"),
        ("of these acting", f"{totals.active:,}"),
        ("mode", ", ".join(totals.modes) or "-"),
        ("notices seen", f"{totals.seen:,}"),
        *((f"  of rule {rule}", f"{seen:,}") for rule, seen in totals.rules.items()),
        (collapsed, f"{totals.collapsed:,}"),
        (superseded, f"{totals.superseded:,}"),
        (share, "-" if totals.share is None else f"{totals.share:.1%}"),
        (bytes_saved, f"{totals.bytes_saved:,}"),
        ("failures", f"{totals.failures:,}"),
        ("tracked pairs", f"{totals.tracked_pairs:,}"),
    ]
    return "\n".join(table(rows, right=[1]))


def _show(arguments: argparse.Namespace, asked: list[Process], clear: str = "") -> int:
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(_ask, asked))
    for _, problem in answers:
        if problem:
            print(problem, file=sys.stderr)
    pages = [page for page, _ in answers if page is not None]
    if not pages:
        return CANNOT_SAY
    totals = add_up(pages)
    text = json.dumps(attrs.asdict(totals)) if arguments.json else in_text(totals)
    # At once, so that a pipe sees each refreshing.
    print(f"{clear}{text}", flush=True)
    return WRONG if any(problem for _, problem in answers) else OK


def _ask(process: Process) -> tuple[Page | None, str]:
    """Read what a process tells; say what is wrong with it if something is."""
    if process.problem:
        return None, f"{process.name}: {process.problem}"
    try:
        address, page = first(process.addresses, fetch)
    except UnreachableError as error:
        return None, str(error)
    if page.samples:
        return page, ""
    return page, f"{address}: this process did not load the module"

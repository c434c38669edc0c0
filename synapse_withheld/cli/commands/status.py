"""`synapse-withheld status`: the module's numbers, of all processes together."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import sleep
from typing import Any

from synapse_withheld.cli import arguments as common
from synapse_withheld.cli.arguments import CannotSayError, ProblemError
from synapse_withheld.cli.homeserver import numbers
from synapse_withheld.cli.homeserver.configuration import MAIN_PROCESS, read
from synapse_withheld.cli.homeserver.http import Address, UnreachableError, first
from synapse_withheld.cli.homeserver.listeners import NoMetricsError, metrics_addresses
from synapse_withheld.cli.homeserver.numbers import Page
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "urls",
        nargs="*",
        type=numbers.complete,
        metavar="URL",
        help="a metrics listener",
    )
    common.add_config(parser, required=False)
    parser.add_argument("--watch", action="store_true", help="refresh until Ctrl-C")
    parser.add_argument(
        "--every",
        type=common.seconds,
        default=2.0,
        metavar="DURATION",
        help="how long to wait between refreshing (default: 2s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the numbers, once or until interrupted; return the exit code."""
    if not arguments.urls and not arguments.config_path:
        raise CannotSayError("name a metrics listener, or give -c homeserver.yaml")
    processes, problems = [[url] for url in arguments.urls], []
    if arguments.config_path:
        deployment = read(arguments.config_path)
        writer = deployment.writer
        # Without the writer the numbers say nothing.
        for name in dict.fromkeys([MAIN_PROCESS, *deployment.workers, writer]):
            try:
                processes.append(metrics_addresses(deployment, name))
            except ProblemError as error:  # noqa: PERF203 few
                problem = f"{name}: {error}"
                if isinstance(error, NoMetricsError) and name == writer:
                    problem += "; or run 'check' with --token-file, which asks the page"
                problems.append(problem)
    show = partial(_show, processes, problems, as_json=arguments.json)
    if not arguments.watch:
        return show()
    clear = _CLEAR if sys.stdout.isatty() and not arguments.json else ""
    # To be interrupted is how this is meant to end.
    with suppress(KeyboardInterrupt):
        while True:
            show(clear)
            sleep(arguments.every)
    return common.OK


def in_text(totals: dict[str, Any]) -> str:
    # In `mode: observe` nothing is done.
    would = "would have " if totals["modes"] == ["observe"] else ""
    share = totals["share"]
    rows = [
        ("processes", totals["processes"]),
        ("of these acting", totals["active"]),
        ("mode", ", ".join(totals["modes"]) or "-"),
        ("notices seen", totals["seen"]),
        *((f"  of rule {rule}", seen) for rule, seen in totals["rules"].items()),
        (f"{would}collapsed", totals["collapsed"]),
        (f"{would}superseded a queued one", totals["superseded"]),
        (f"share {would}collapsed", "-" if share is None else f"{share:.1%}"),
        (f"bytes {would}saved", totals["bytes_saved"]),
        ("failures", totals["failures"]),
        ("tracked pairs", totals["tracked_pairs"]),
    ]
    return "\n".join(table(rows))


def _show(
    processes: list[list[Address]], known: list[str], clear: str = "", *, as_json: bool
) -> int:
    """Show what processes tell at their addresses, and what is wrong with others."""
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(_ask, processes))
    problems = [*known, *(problem for _, problem in answers if problem)]
    for problem in problems:
        print(problem, file=sys.stderr)
    pages = [page for page, _ in answers if page is not None]
    if not pages:
        return common.CANNOT_SAY
    totals = numbers.add_up(pages)
    text = json.dumps(totals) if as_json else in_text(totals)
    # At once, so that a pipe sees each refreshing.
    print(f"{clear}{text}", flush=True)
    return common.WRONG if problems else common.OK


def _ask(addresses: list[Address]) -> tuple[Page | None, str]:
    """Read what a process tells; say what is wrong with it if something is."""
    try:
        address, page = first(addresses, numbers.fetch)
    except UnreachableError as error:
        return None, str(error)
    is_loaded, problem = page.samples, "this process did not load the module"
    return page, "" if is_loaded else f"{address}: {problem}"

"""`synapse-withheld status`: the module's numbers, of all processes together."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import sleep
from typing import Any, Callable, List

from synapse_withheld.cli import arguments as common
from synapse_withheld.cli.arguments import CannotSayError, ProblemError
from synapse_withheld.cli.homeserver import numbers
from synapse_withheld.cli.homeserver.configuration import MAIN_PROCESS, Deployment, read
from synapse_withheld.cli.homeserver.http import Address, first
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

# Where a process tells its metrics; it raises why they are told nowhere.
Find = Callable[[], List[Address]]


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
    found: list[Find] = [partial(list, [url]) for url in arguments.urls]
    if arguments.config_path:
        deployment = read(arguments.config_path)
        # Without the writer the numbers say nothing.
        names = [MAIN_PROCESS, *deployment.workers, deployment.writer]
        found += [partial(_find, deployment, name) for name in dict.fromkeys(names)]
    if not arguments.watch:
        return _show(found, as_json=arguments.json)
    clear = _CLEAR if sys.stdout.isatty() and not arguments.json else ""
    # To be interrupted is how this is meant to end.
    with suppress(KeyboardInterrupt):
        while True:
            _show(found, clear, as_json=arguments.json)
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


def _find(deployment: Deployment, name: str) -> list[Address]:
    try:
        return metrics_addresses(deployment, name)
    except ProblemError as error:
        problem = f"{name}: {error}"
        if isinstance(error, NoMetricsError) and name == deployment.writer:
            problem += "; or run 'check' with --token-file, which asks the page"
        raise CannotSayError(problem) from error


def _show(asked: list[Find], clear: str = "", *, as_json: bool) -> int:
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(_ask, asked))
    problems = [problem for _, problem in answers if problem]
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


def _ask(find: Find) -> tuple[Page | None, str]:
    """Read what a process tells; say what is wrong with it if something is."""
    try:
        address, page = first(find(), numbers.fetch)
    except CannotSayError as error:
        return None, str(error)
    is_loaded, problem = page.samples, "this process did not load the module"
    return page, "" if is_loaded else f"{address}: {problem}"

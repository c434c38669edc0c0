"""`synapse-withheld status`: the module's numbers, of all processes together."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Iterator, NoReturn

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from synapse_withheld.cli.shared.codes import CANNOT_SAY, OK, WRONG
from synapse_withheld.cli.shared.duration import seconds
from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, first
from synapse_withheld.cli.shared.homeserver.homeserver_yaml import (
    MAIN_PROCESS,
    ConfigProblemError,
    Deployment,
    read,
)
from synapse_withheld.cli.shared.homeserver.listeners import metrics_addresses
from synapse_withheld.cli.shared.homeserver.metrics_page import (
    Page,
    Totals,
    add_up,
    complete,
    fetch,
)
from synapse_withheld.cli.shared.homeserver.reactor import in_reactor

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


@attrs.frozen
class _Words:
    """What the numbers are called that tell what was done."""

    collapsed: str
    superseded: str
    share: str
    bytes_saved: str


_DID = _Words("collapsed", "superseded a queued one", "share collapsed", "bytes saved")
# In `mode: observe`, where nothing is done.
_WOULD_HAVE = _Words(
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
    addresses: tuple[Address, ...]
    problem: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "urls", nargs="*", type=complete, metavar="URL", help="a metrics listener"
    )
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a file or directory of Synapse's configuration, to find the listeners "
        "of its processes in; may be repeated",
    )
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
        return _misused(
            arguments, "name a metrics listener, or give -c homeserver.yaml"
        )
    try:
        found = list(processes(arguments.urls, arguments.config_path))
    except (OSError, ConfigProblemError) as error:
        print(f"cannot read the configuration: {error}", file=sys.stderr)
        return CANNOT_SAY
    if not arguments.watch:
        return in_reactor(lambda: _show(arguments, found), CANNOT_SAY)
    # To be interrupted is how this is meant to end.
    return in_reactor(lambda: _watch(arguments, found), OK)


def processes(urls: list[Address], paths: list[Path]) -> Iterator[Process]:
    """Give all that are named, and all that files of configuration tell of.

    Raises:
        OSError: A file cannot be read.
        ConfigProblemError: It is not what Synapse could read.
    """
    for url in urls:
        yield Process(str(url), (url,))
    if paths:
        deployment = read(paths)
        names = [MAIN_PROCESS, *deployment.workers]
        # Without it the numbers say nothing.
        names += [each for each in [deployment.writer] if each not in names]
        for name in names:
            yield _process(deployment, name)


def _process(deployment: Deployment, name: str) -> Process:
    config = deployment.config_of(name)
    if config is None:
        problem = "it writes to-device messages; add -c with its file"
        return Process(name, (), problem)
    worker = name != MAIN_PROCESS
    try:
        return Process(name, tuple(metrics_addresses(config, worker=worker)))
    except ConfigProblemError as error:
        return Process(name, (), str(error))


def _misused(arguments: argparse.Namespace, problem: str) -> NoReturn:
    arguments.misused(problem)
    raise AssertionError("it ends the program")


def in_text(totals: Totals) -> str:
    """Return the numbers as a table."""
    done = _WOULD_HAVE if totals.only_observed else _DID
    share = "-" if totals.share is None else f"{totals.share:.1%}"
    rows = [
        ("processes", f"{totals.processes:,}"),
        ("of these acting", f"{totals.active:,}"),
        ("mode", ", ".join(totals.modes) or "-"),
        ("notices seen", f"{totals.seen:,}"),
        *((f"  of rule {rule}", f"{seen:,}") for rule, seen in totals.rules.items()),
        (done.collapsed, f"{totals.collapsed:,}"),
        (done.superseded, f"{totals.superseded:,}"),
        (done.share, share),
        (done.bytes_saved, f"{totals.bytes_saved:,}"),
        ("failures", f"{totals.failures:,}"),
        ("tracked pairs", f"{totals.tracked_pairs:,}"),
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        f"{label.ljust(widths[0])}  {value.rjust(widths[1])}" for label, value in rows
    )


def in_json(totals: Totals) -> str:
    """Return the numbers as a JSON object."""
    return json.dumps(attrs.asdict(totals))


async def _watch(arguments: argparse.Namespace, asked: list[Process]) -> int:
    while True:
        clear = sys.stdout.isatty() and not arguments.json
        await _show(arguments, asked, clear=clear)
        await deferLater(_clock(), arguments.every, lambda: None)


async def _show(
    arguments: argparse.Namespace, asked: list[Process], *, clear: bool = False
) -> int:
    pages = await gatherResults([Deferred.fromCoroutine(_try(each)) for each in asked])
    found = [page for page in pages if page is not None]
    if not found:
        return CANNOT_SAY
    totals = add_up(found)
    text = in_json(totals) if arguments.json else in_text(totals)
    # At once, so that a pipe sees each refreshing.
    print(f"{_CLEAR if clear else ''}{text}", flush=True)
    with_module = all(page is not None and page.samples for page in pages)
    return OK if with_module else WRONG


async def _try(process: Process) -> Page | None:
    """Read what a process tells; say what is wrong with it if something is."""
    if process.problem:
        print(f"{process.name}: {process.problem}", file=sys.stderr)
        return None
    try:
        address, page = await first(process.addresses, fetch)
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return None
    if not page.samples:
        print(f"{address}: this process did not load the module", file=sys.stderr)
    return page


def _clock() -> Any:
    # Twisted decides at run time what kind it is.
    return reactor

"""`synapse-withheld check`: is the module installed, configured and acting?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import attrs

from synapse_withheld.cli.shared import findings
from synapse_withheld.cli.shared.codes import CANNOT_SAY, OK
from synapse_withheld.cli.shared.codes import WRONG as EXIT_WRONG
from synapse_withheld.cli.shared.fetching import UnreachableError
from synapse_withheld.cli.shared.findings import NOTE, RIGHT, UNKNOWN, WRONG, Finding
from synapse_withheld.cli.shared.homeserver_yaml import (
    ConfigProblemError,
    Deployment,
    read,
)
from synapse_withheld.cli.shared.metrics_page import complete, fetch
from synapse_withheld.cli.shared.reactor import in_reactor

EPILOG = """\
example:
  synapse-withheld check -c homeserver.yaml
  synapse-withheld check -c homeserver.yaml -c workers/to_device.yaml

Run it with the Python that Synapse runs with. It reads the files as Synapse does,
and the metrics of the process that writes to-device messages; it changes nothing.
With workers give the shared file and that of the writer.

exit codes: 0 the module acts, 1 something is wrong, 2 a file could not be read
"""

_UNREACHABLE = (
    "start Synapse; if it runs, run this where the listener can be reached, or give "
    "its address with --metrics-url"
)

# For reading down the left edge.
_SHOWN = {RIGHT: "ok", NOTE: "note", WRONG: "WRONG", UNKNOWN: "?"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="a file or directory of Synapse's configuration; may be repeated",
    )
    parser.add_argument(
        "--metrics-url",
        type=complete,
        metavar="URL",
        help="where the writer tells its metrics, if not where the files say",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Answer each question; return the exit code."""
    try:
        found = in_reactor(
            lambda: look(arguments.config_path, arguments.metrics_url), None
        )
    except OSError as error:
        print(f"Cannot read the configuration: {error}", file=sys.stderr)
        return CANNOT_SAY
    if found is None:
        return CANNOT_SAY
    wrong = any(each.state in {WRONG, UNKNOWN} for each in found)
    if arguments.json:
        data = {"acting": not wrong, "findings": [attrs.asdict(each) for each in found]}
        print(json.dumps(data, indent=2))
    else:
        for each in found:
            print(in_text(each))
    return EXIT_WRONG if wrong else OK


async def look(paths: list[Path], url: str | None) -> list[Finding]:
    """Return the answer to each question, in order.

    Raises:
        OSError: A file cannot be read.
    """
    found = [findings.importable(), findings.tested(findings.installed_synapse())]
    try:
        deployment = read(paths)
    except ConfigProblemError as error:
        found.append(Finding("config", WRONG, error.found, error.do))
    else:
        found += await _look_at(deployment, url)
    return findings.complete(found)


def in_text(finding: Finding) -> str:
    """Return a finding as a line, with what to do at its end."""
    line = f"{_SHOWN[finding.state]:<5}  {finding.question:<8}  {finding.found}"
    return f"{line}; to do: {finding.do}" if finding.do else line


async def _look_at(deployment: Deployment, url: str | None) -> list[Finding]:
    try:
        writer = deployment.writer
    except ConfigProblemError as error:
        return [Finding("writer", WRONG, error.found, error.do)]
    configured, config = findings.configured(deployment, writer)
    found = [configured, Finding("writer", RIGHT, writer)]
    if url is None:
        listening, url = findings.listening(deployment, writer)
        if url is None:
            return [*found, listening]
    try:
        page = await fetch(url)
    except UnreachableError as error:
        return [*found, Finding("metrics", WRONG, f"{url}: {error}", _UNREACHABLE)]
    found += [Finding("metrics", RIGHT, url), findings.loaded(page, config)]
    # Without the module on the page its zeros would say nothing.
    return found + (findings.acting(page, writer) if page.samples else [])

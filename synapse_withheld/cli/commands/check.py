"""`synapse-withheld check`: is the module installed, configured and acting?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Mapping

import attrs

from synapse_withheld.cli import findings
from synapse_withheld.cli.codes import CANNOT_SAY, OK
from synapse_withheld.cli.codes import WRONG as EXIT_WRONG
from synapse_withheld.cli.findings import NOTE, RIGHT, UNKNOWN, WRONG, Finding
from synapse_withheld.cli.homeserver.address import Address
from synapse_withheld.cli.homeserver.configuration import (
    MAIN_PROCESS,
    ConfigProblemError,
    Deployment,
    add_config_argument,
    read,
)
from synapse_withheld.cli.homeserver.fetching import (
    FOUND,
    UnreachableError,
    first,
    get,
)
from synapse_withheld.cli.homeserver.listeners import (
    NoMetricsError,
    http_addresses,
    metrics_addresses,
)
from synapse_withheld.cli.homeserver.numbers import (
    SHOWN,
    STATUS,
    as_metrics,
    complete,
    fetch,
)
from synapse_withheld.cli.homeserver.token import (
    REFUSALS,
    add_token_argument,
    read_token,
)
from synapse_withheld.config import Config

EPILOG = """\
example:
  synapse-withheld check -c homeserver.yaml
  synapse-withheld check -c homeserver.yaml -c workers/to_device.yaml

Run it with the Python that Synapse runs with. It reads the files as Synapse does,
and the metrics of the process that writes to-device messages; it changes nothing.
With workers give the shared file and that of the writer. Where no metrics are told,
it asks the module's page, with the access token of a server admin.

exit codes: 0 nothing is wrong, 1 something is, 2 a file could not be read
"""

_START = (
    "start Synapse, or restart it where the listener is new; if that is done, run this "
    "where it can be reached"
)
_UNREACHABLE = f"{_START}, or give its address with --metrics-url"
_ANOTHER_TOKEN = "give the access token of a server admin"  # noqa: S105 no token

# For reading down the left edge.
_SHOWN = {RIGHT: "ok", NOTE: "note", WRONG: "WRONG", UNKNOWN: "?"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument(
        "--metrics-url",
        type=complete,
        metavar="URL",
        help="where the writer tells its metrics, if not where the files say",
    )
    add_token_argument(
        parser,
        "holds the access token of a server admin, for where no metrics are told",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Answer each question; return the exit code."""
    try:
        token = read_token(arguments.token_file)
        found = look(arguments.config_path, arguments.metrics_url, token)
    except OSError as error:
        print(f"cannot read what it is given: {error}", file=sys.stderr)
        return CANNOT_SAY
    acting = is_acting(found)
    if arguments.json:
        data = {"acting": acting, "findings": [attrs.asdict(each) for each in found]}
        print(json.dumps(data, indent=2))
    else:
        for each in found:
            print(in_text(each))
    return EXIT_WRONG if acting is False else OK


def is_acting(found: list[Finding]) -> bool | None:
    """Say whether the module acts and all is right; `None` if nobody can be asked."""
    states = {each.state for each in found}
    if WRONG in states:
        return False
    return None if UNKNOWN in states else True


def in_text(finding: Finding) -> str:
    """Return a finding as a line, with what to do at its end."""
    line = f"{_SHOWN[finding.state]:<5}  {finding.question:<8}  {finding.found}"
    return f"{line}; to do: {finding.do}" if finding.do else line


def look(paths: list[Path], url: Address | None, token: str) -> list[Finding]:
    """Return the answer to each question, in order.

    Raises:
        OSError: A file cannot be read.
    """
    found = [findings.importable(), findings.tested(findings.installed_synapse())]
    try:
        found += _look_at(read(paths), url, token)
    except ConfigProblemError as error:
        found.append(findings.wrong("config", error))
    return findings.complete(found)


def _look_at(deployment: Deployment, url: Address | None, token: str) -> list[Finding]:
    try:
        writer = deployment.writer
    except ConfigProblemError as error:
        return [findings.wrong("writer", error)]
    configured, config = findings.configured(deployment, writer)
    found = [configured, Finding("writer", RIGHT, writer)]
    process = deployment.config_of(writer)
    worker = writer != MAIN_PROCESS
    if url is None and process is None:
        return [*found, _no_file(deployment, writer)]
    try:
        addresses = [url] if url else metrics_addresses(process or {}, worker=worker)
    except NoMetricsError as error:
        do = error.do
        if not token:
            do += "; or give an admin's access token with --token-file"
        found.append(Finding("metrics", NOTE, error.found, do))
        return found + _ask_for_page(process or {}, writer, config, token)
    except ConfigProblemError as error:
        return [*found, findings.wrong("metrics", error)]
    return found + _ask_for_metrics(addresses, writer, config)


def _no_file(deployment: Deployment, writer: str) -> Finding:
    known = ", ".join([MAIN_PROCESS, *deployment.workers])
    found = f"the files tell of {known}, not of {writer}"
    do = f"add -c with the file that has 'worker_name: {writer}', or --metrics-url"
    return Finding("metrics", WRONG, found, do)


def _ask_for_metrics(
    addresses: list[Address], writer: str, config: Config | None
) -> list[Finding]:
    try:
        address, page = first(addresses, fetch)
    except UnreachableError as error:
        return [Finding("metrics", WRONG, str(error), _UNREACHABLE)]
    found = [Finding("metrics", RIGHT, str(address)), findings.loaded(page, config)]
    # Without the module on the page its zeros would say nothing.
    return found + (findings.acting(page, writer) if page.samples else [])


def _ask_for_page(
    process: Mapping[str, Any], writer: str, config: Config | None, token: str
) -> list[Finding]:
    """Ask the module's page: that it is there, or with a token its numbers, too."""
    path = STATUS if token else SHOWN
    addresses = http_addresses(process, path, worker=writer != MAIN_PROCESS)
    if not addresses:
        return []
    try:
        address, (status, text) = first(addresses, lambda at: get(at, token))
    except UnreachableError as error:
        return [Finding("loaded", WRONG, str(error), _START)]
    if token and status in REFUSALS:
        found = f"{address} answers {status}: {REFUSALS[status]}"
        return [Finding("loaded", WRONG, found, _ANOTHER_TOKEN)]
    if not token or status != FOUND:
        return [findings.page_answers(address, status, config)]
    try:
        page = as_metrics(text)
    except UnreachableError as error:
        return [Finding("loaded", WRONG, f"{address}: {error}", _START)]
    return [findings.loaded(page, config), *findings.acting(page, writer)]

"""`synapse-withheld check`: is the module installed, configured and acting?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Iterator

from synapse_withheld.cli import arguments as common
from synapse_withheld.cli import findings
from synapse_withheld.cli.arguments import REFUSALS, ProblemError
from synapse_withheld.cli.findings import NOTE, QUESTIONS, RIGHT, UNKNOWN, WRONG, Answer
from synapse_withheld.cli.homeserver import configuration, http, listeners, numbers
from synapse_withheld.cli.homeserver.configuration import Deployment
from synapse_withheld.cli.homeserver.http import Address
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
    "where it can be reached, or give its address with --metrics-url"
)

# For reading down the left edge.
_SHOWN = {RIGHT: "ok", NOTE: "note", WRONG: "WRONG", UNKNOWN: "?"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config(parser)
    parser.add_argument(
        "--metrics-url",
        type=numbers.complete,
        metavar="URL",
        help="where the writer tells its metrics, if not where the files say",
    )
    common.add_token(parser)


def run(arguments: argparse.Namespace) -> int:
    token = common.read_token(arguments.token_file)
    answers = look(arguments.config_path, arguments.metrics_url, token)
    states = {each.state for each in answers}
    # Nobody can be asked where something is unknown.
    acting = False if WRONG in states else None if UNKNOWN in states else True
    if arguments.json:
        told = zip(QUESTIONS, answers)
        found = [{"question": name, **each._asdict()} for name, each in told]
        print(json.dumps({"acting": acting, "findings": found}, indent=2))
    else:
        for name, (state, text, do) in zip(QUESTIONS, answers):
            to_do = f"; to do: {do}" if do else ""
            print(f"{_SHOWN[state]:<5}  {name:<8}  {text}{to_do}")
    return common.WRONG if acting is False else common.OK


def look(paths: list[Path], url: Address | None, token: str) -> list[Answer]:
    answers: list[Answer] = []
    unknown = "cannot be told before the above is right"
    try:
        for each in _answers(paths, url, token):
            answers.append(each)  # noqa: PERF402 those before a problem are kept
        unknown = "not told without metrics or an admin's access token"
    except ProblemError as error:
        answers.append(Answer(WRONG, error.found, error.do))
    except http.UnreachableError as error:
        answers.append(Answer(WRONG, str(error), _START))
    return answers + [Answer(UNKNOWN, unknown)] * (len(QUESTIONS) - len(answers))


def _answers(paths: list[Path], url: Address | None, token: str) -> Iterator[Answer]:
    """Answer the questions until something is wrong, or nobody is left to ask."""
    yield findings.importable()
    from synapse_withheld.synapse_internals import synapse_version  # noqa: PLC0415

    yield findings.tested(synapse_version())
    deployment = configuration.read(paths)
    writer = deployment.writer
    # Its own file may be missing here; most name the module in the shared one.
    entry = configuration.need_module(deployment.workers.get(writer, deployment.shared))
    config = configuration.parsed(entry)
    yield findings.configured(config, entry.get("config") or {}, deployment)
    yield Answer(RIGHT, writer)
    try:
        addresses = [url] if url else listeners.metrics_addresses(deployment, writer)
    except listeners.NoMetricsError as error:
        instead = "" if token else "; or give an admin's access token with --token-file"
        yield Answer(NOTE, error.found, f"{error.do}{instead}")
        yield from _of_page(deployment, config, token)
    else:
        address, page = http.first(addresses, numbers.fetch)
        yield Answer(RIGHT, str(address))
        yield from findings.numbers(page, writer, config)


def _of_page(deployment: Deployment, config: Config, token: str) -> Iterator[Answer]:
    """Ask the module's page: that it is there, or with a token its numbers, too."""

    def ask(address: Address) -> tuple[int, numbers.Page | None]:
        status, text = http.get(address, token)
        is_told = token and status == http.FOUND
        return status, numbers.as_metrics(text) if is_told else None

    path = numbers.STATUS if token else numbers.SHOWN
    addresses = listeners.http_addresses(deployment, deployment.writer, path)
    if not addresses:
        return
    address, (status, page) = http.first(addresses, ask)
    if token and status in REFUSALS:
        found = f"{address} answers {status}: {REFUSALS[status]}"
        raise ProblemError(found, "give the access token of a server admin")
    if page is None:
        yield findings.page_answers(address, status, config)
    else:
        yield from findings.numbers(page, deployment.writer, config)

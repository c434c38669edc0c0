"""`synapse-withheld top`: who sends and who receives the most notices."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import attrs

from synapse_withheld.cli.codes import CANNOT_SAY, OK
from synapse_withheld.cli.homeserver.address import Address, address_like
from synapse_withheld.cli.homeserver.fetching import (
    FOUND,
    UnreachableError,
    get,
)
from synapse_withheld.cli.homeserver.token import (
    REFUSALS,
    TOKEN,
    add_token_argument,
    read_token,
)
from synapse_withheld.cli.tables import table
from synapse_withheld.operators.pages.asking import (
    DEFAULT_LIMIT,
    MOST_LIMIT,
    PATH,
    TOP,
    limit_of,
)

EPILOG = f"""\
example:
  synapse-withheld top --token-file token.txt http://127.0.0.1:8008

Asks the process that writes to-device messages, with the access token of a server
admin: from a file, or from the environment variable {TOKEN}. The
numbers count since that process started. Where there are very many senders or
devices they are estimates: the true number lies between the two that are shown.

exit codes: 0 answered, 2 no answer
"""

_NOT_SERVED = (
    "this process does not serve it; name the process that writes to-device messages, "
    "with the module loaded and not 'pages: false'"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        type=_writer,
        metavar="URL",
        help="the homeserver, its writer, or the page there",
    )
    add_token_argument(parser, "holds the access token")
    parser.add_argument(
        "--limit",
        type=_limit,
        default=DEFAULT_LIMIT,
        metavar="NUMBER",
        help=f"how many of each, at most {MOST_LIMIT} (default: {DEFAULT_LIMIT})",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Show the busiest; return the exit code."""
    try:
        token = read_token(arguments.token_file)
    except OSError as error:
        print(f"the access token cannot be read: {error}", file=sys.stderr)
        return CANNOT_SAY
    if not token:
        print(f"no access token: give --token-file or set {TOKEN}", file=sys.stderr)
        return CANNOT_SAY
    return _show(arguments, token)


def in_text(top: dict[str, Any]) -> str:
    """Return the answer as two tables."""
    senders = [(each, each["user_id"]) for each in top["senders"]]
    recipients = [
        (each, f"{each['user_id']} {each['device_id']}") for each in top["recipients"]
    ]
    return "\n".join([*_table("sender", senders), "", *_table("recipient", recipients)])


def _table(title: str, counted: list[tuple[dict[str, Any], str]]) -> list[str]:
    # At most ten digits and their commas.
    rows = [("at least".rjust(13), "at most".rjust(13), "rule", title)]
    for each, name in counted:
        least, most = each["notices"] - each["error"], each["notices"]
        rows.append((f"{least:,}", f"{most:,}", each["rule"], name))
    return table(rows, right=[0, 1])


def _show(arguments: argparse.Namespace, token: str) -> int:
    address: Address = arguments.url
    path = f"{address.path}{PATH}/{TOP}?limit={arguments.limit}"
    try:
        top, text = _fetch(attrs.evolve(address, path=path), token)
    except UnreachableError as error:
        print(f"{address}: {error}", file=sys.stderr)
        return CANNOT_SAY
    print(json.dumps(top) if arguments.json else text)
    return OK


def _fetch(address: Address, token: str) -> tuple[Any, str]:
    """Return the answer, and the same as text."""
    status, text = get(address, token)
    if status != FOUND:
        means = {404: _NOT_SERVED, **REFUSALS}
        meaning = means.get(status, "not what was asked for")
        raise UnreachableError(f"it answers {status}: {meaning}")
    try:
        answer = json.loads(text)
        return answer, in_text(answer)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"it answers something else: {error!r}") from error


def _writer(text: str) -> Address:
    """Read the address of a homeserver; that of the page is one with more behind."""
    address = address_like("https://matrix.example.org")(text)
    path = address.path.partition("?")[0].rstrip("/")
    return attrs.evolve(
        address, path=path[: -len(PATH)] if path.endswith(PATH) else path
    )


def _limit(text: str) -> int:
    limit = limit_of(text)
    if limit is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to {MOST_LIMIT}")
    return limit

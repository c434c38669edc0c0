"""`synapse-withheld top`: who sends and who receives the most notices."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from synapse_withheld.cli import arguments as common
from synapse_withheld.cli.arguments import OK, REFUSALS, TOKEN, CannotSayError
from synapse_withheld.cli.homeserver.http import (
    FOUND,
    Address,
    UnreachableError,
    first,
    get,
    read_url,
)
from synapse_withheld.cli.tables import table
from synapse_withheld.operators.pages.asking import (
    DEFAULT_LIMIT,
    MOST_LIMIT,
    PATH,
    TOP,
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

_MEANS = {
    404: "this process does not serve it; name the process that writes to-device "
    "messages, with the module loaded and not 'pages: false'",
    **REFUSALS,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        type=_writer,
        metavar="URL",
        help="the homeserver, its writer, or the page there",
    )
    common.add_token(parser)
    parser.add_argument(
        "--limit",
        type=common.whole_number(MOST_LIMIT),
        default=DEFAULT_LIMIT,
        metavar="NUMBER",
        help=f"how many of each, at most {MOST_LIMIT} (default: {DEFAULT_LIMIT})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the busiest; return the exit code."""
    token = common.read_token(arguments.token_file)
    if not token:
        raise CannotSayError(f"no access token: give --token-file or set {TOKEN}")
    url = f"{arguments.url}{PATH}/{TOP}?limit={arguments.limit}"

    def ask(address: Address) -> tuple[Any, str]:
        status, text = get(address, token)
        if status != FOUND:
            means = _MEANS.get(status, "not what was asked for")
            raise UnreachableError(f"it answers {status}: {means}")
        try:
            top = json.loads(text)
            return top, in_text(top)
        except (ValueError, KeyError, TypeError) as error:
            raise UnreachableError(f"it answers something else: {error!r}") from error

    _, (top, text) = first([Address(url)], ask)
    print(json.dumps(top) if arguments.json else text)
    return OK


def in_text(top: dict[str, Any]) -> str:
    tables = []
    for title in ("sender", "recipient"):
        # At most ten digits and their commas.
        rows: list[Any] = [("at least".rjust(13), "at most".rjust(13), "rule", title)]
        for each in top[f"{title}s"]:
            names = [each[key] for key in ("user_id", "device_id") if key in each]
            least, most = each["notices"] - each["error"], each["notices"]
            rows.append((least, most, each["rule"], " ".join(names)))
        tables.append("\n".join(table(rows)))
    return "\n\n".join(tables)


def _writer(text: str) -> str:
    # The page's own is one with more behind.
    url = read_url(text, "https://matrix.example.org")
    return re.sub(rf"({PATH})?/?(\?.*)?$", "", url)

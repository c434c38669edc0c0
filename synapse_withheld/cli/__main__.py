"""The command line: `synapse-withheld`, or `python -m synapse_withheld.cli`.

Data goes to standard output, talk to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn, Sequence

from synapse_withheld.cli.arguments import CANNOT_SAY, CannotSayError
from synapse_withheld.cli.commands import check, explain, status, survey, sweep, top
from synapse_withheld.cli.homeserver.http import without_passwords
from synapse_withheld.database.database import StatementError
from synapse_withheld.version import VERSION

PROGRAM = "synapse-withheld"

_COMMANDS = {
    "survey": (survey, "say what waits in the database, and what would go"),
    "check": (check, "say whether the module is installed, configured and acting"),
    "status": (status, "add up the module's metrics of all processes"),
    "top": (top, "say who sends and who receives the most notices"),
    "explain": (explain, "say what the rule decides about messages, and why"),
    "sweep": (sweep, "tidy what duplicates are in the database already"),
}

_EPILOG = """\
example:
  synapse-withheld check -c homeserver.yaml

exit codes: 0 all is well, 1 something is wrong, 2 it could not be told; each
command says more with --help
"""


def commands() -> list[str]:
    return list(_COMMANDS)


class _Parser(argparse.ArgumentParser):
    """Quotes arguments that it does not know, but no passwords."""

    def error(self, message: str) -> NoReturn:
        super().error(without_passwords(message))


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog=PROGRAM,
        description="Operate synapse_withheld, the module for Synapse.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (command, summary) in _COMMANDS.items():
        each = parsers.add_parser(
            name,
            help=summary,
            description=f"{summary.capitalize()}.",
            epilog=command.EPILOG,
            formatter_class=raw,
        )
        command.add_arguments(each)
        each.add_argument("--json", action="store_true", help="print JSON")
        each.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str]) -> int:
    parsed = make_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except CannotSayError as error:
        print(error, file=sys.stderr)
    except StatementError as error:
        print(error.__cause__, file=sys.stderr)
    else:
        return code
    return CANNOT_SAY


def console() -> None:
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` does. Nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = CANNOT_SAY
    except KeyboardInterrupt:
        code = CANNOT_SAY
    sys.exit(code)


if __name__ == "__main__":
    console()

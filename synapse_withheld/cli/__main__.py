"""The command line: `synapse-withheld`, or `python -m synapse_withheld.cli`.

Data goes to standard output, talk to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import Sequence

from synapse_withheld.cli.commands import check, explain, status, top
from synapse_withheld.cli.shared.codes import CANNOT_SAY
from synapse_withheld.version import VERSION

PROGRAM = "synapse-withheld"

_COMMANDS = {
    "check": (check, "say whether the module is installed, configured and acting"),
    "status": (status, "add up the module's metrics of all processes"),
    "top": (top, "say who sends and who receives the most notices"),
    "explain": (explain, "say what the rule decides about messages, and why"),
}
_SWEEP = "tidy what duplicates are in the database already"

_EPILOG = """\
example:
  synapse-withheld check -c homeserver.yaml

exit codes: 0 all is well, 1 something is wrong, 2 it could not be told; each
command says more with --help
"""


def commands() -> list[str]:
    """Return the names of all commands."""
    return [*_COMMANDS, "sweep"]


def make_parser(*, sweep: bool = False) -> argparse.ArgumentParser:
    """Make the parser.

    Args:
        sweep: Whether to load what `sweep` takes: it brings Synapse along.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
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
        each.set_defaults(run=command.run)
    sweeping = parsers.add_parser("sweep", help=_SWEEP, formatter_class=raw)
    if sweep:
        module = import_module("synapse_withheld.cli.commands.sweep")
        module.add_arguments(sweeping)
        sweeping.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run a command; return the exit code."""
    parsed = make_parser(sweep=arguments[:1] == ["sweep"]).parse_args(arguments)
    code: int = parsed.run(parsed)
    return code


def console() -> None:
    """Run as a program."""
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

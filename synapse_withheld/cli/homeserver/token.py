"""An admin's access token: from a file or the environment, never from the command."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from synapse_withheld.cli.arguments import CannotSayError

TOKEN = "SYNAPSE_WITHHELD_TOKEN"  # noqa: S105 a variable's name

# What the module's page answers to a token that is not an admin's.
REFUSALS = {
    401: "the access token is not valid (any more)",
    403: "the access token is not one of a server admin",
}


def add_token(parser: argparse.ArgumentParser, what_for: str) -> None:
    """Have a command take a file with a token; its help begins with what for."""
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"{what_for} (default: the variable {TOKEN})",
    )


def read_token(file: Path | None) -> str:
    """Return the token; nothing where there is none.

    Raises:
        CannotSayError: The file cannot be read, or holds something else.
    """
    try:
        text = os.environ.get(TOKEN, "") if file is None else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"the access token in {file} cannot be read: {error}"
        raise CannotSayError(problem) from error
    token = text.strip()
    if not token.isascii() or len(token.split()) > 1:
        raise CannotSayError(f"{file or TOKEN} holds something else than a token")
    return token

"""What several commands take, and how they end."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Callable

from synapse_withheld.config import InvalidConfigError, duration_ms

OK, WRONG, CANNOT_SAY = 0, 1, 2  # exit codes

TOKEN = "SYNAPSE_WITHHELD_TOKEN"  # noqa: S105 a variable's name

# What the module's page answers to a token that is not an admin's.
REFUSALS = {
    401: "the access token is not valid (any more)",
    403: "the access token is not one of a server admin",
}


class CannotSayError(Exception):
    """A command ends without an answer; the message says why, in a line."""


class ProblemError(CannotSayError):
    """Something is not as it should be: what was found, and what to do about it."""

    def __init__(self, found: str, do: str) -> None:
        super().__init__(f"{found}: {do}")
        self.found = found
        self.do = do


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        default=[],
        required=required,
        type=Path,
        metavar="FILE",
        help="a file or directory of Synapse's configuration; may be repeated",
    )


def add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the access token of a server admin (default: the variable "
        f"{TOKEN})",
    )


def read_token(file: Path | None) -> str:
    """Return the token, if any: from a file or the environment, never the command."""
    try:
        text = os.environ.get(TOKEN, "") if file is None else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"the access token in {file} cannot be read: {error}"
        raise CannotSayError(problem) from error
    token = text.strip()
    if not token.isascii() or len(token.split()) > 1:
        raise CannotSayError(f"{file or TOKEN} holds something else than a token")
    return token


def seconds(text: str) -> float:
    """Read a duration such as `2s`, in seconds; a bare number is milliseconds."""
    try:
        return duration_ms(text) / 1000
    except InvalidConfigError as error:
        raise argparse.ArgumentTypeError(error.problem) from None


def whole_number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # Python refuses to read thousands of digits.
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"{text[:20]!r} is not 1 to {most}")
        return number

    return read

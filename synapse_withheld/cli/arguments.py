"""What several commands take, and how they end."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Callable

from synapse_withheld.config import InvalidConfigError, duration_ms

OK, WRONG, CANNOT_SAY = 0, 1, 2  # exit codes


class CannotSayError(Exception):
    """A command ends without an answer; the message says why, in a line."""


class ProblemError(CannotSayError):
    """Something is not as it should be.

    Attributes:
        found: What is wrong.
        do: What to do about it.
    """

    def __init__(self, found: str, do: str) -> None:
        super().__init__(f"{found}: {do}")
        self.found = found
        self.do = do


def add_config(
    parser: argparse.ArgumentParser, what_for: str = "", *, required: bool = True
) -> None:
    """Have a command take Synapse's configuration."""
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        default=[],
        required=required,
        type=Path,
        metavar="FILE",
        help=f"a file or directory of Synapse's configuration{what_for}; may be "
        "repeated",
    )


def seconds(text: str) -> float:
    """Read a duration such as `2s`, in seconds; a bare number is milliseconds."""
    try:
        return duration_ms(text) / 1000
    except InvalidConfigError as error:
        raise argparse.ArgumentTypeError(error.problem) from None


def whole_number(most: int) -> Callable[[str], int]:
    """Return what reads a number from 1 to another."""

    def read(text: str) -> int:
        # Python refuses to read thousands of digits.
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"{text[:20]!r} is not 1 to {most}")
        return number

    return read

"""Durations on the command line: written as in the configuration."""

from __future__ import annotations

import argparse

from synapse_withheld.config import InvalidConfigError, duration_ms


def seconds(text: str) -> float:
    """Read a duration such as `2s`, in seconds; a bare number is milliseconds."""
    try:
        return duration_ms(text) / 1000
    except InvalidConfigError as error:
        raise argparse.ArgumentTypeError(error.problem) from None

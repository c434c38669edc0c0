"""What `survey` and `sweep` have in common: how they are asked, rest and end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from typing import Any, Callable, Coroutine, Iterator, Mapping, TypeVar

from synapse_withheld.cli.codes import CANNOT_SAY
from synapse_withheld.cli.duration import seconds
from synapse_withheld.cli.homeserver.configuration import (
    ConfigProblemError,
    add_config_argument,
    is_ours,
    module_config,
)
from synapse_withheld.cli.walking.database import DatabaseError
from synapse_withheld.config import Config
from synapse_withheld.database.database import StatementError
from synapse_withheld.sweep.walk import MOST_BATCH_SIZE, PAUSE_S

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument(
        "--batch-size",
        type=whole_number(MOST_BATCH_SIZE),
        metavar="ROWS",
        help="how many rows to look at between rests",
    )
    parser.add_argument(
        "--pause",
        type=pause_s,
        default=PAUSE_S,
        metavar="DURATION",
        help="how long to rest after each batch, such as 2s; 0 not to rest "
        "(default: a tenth of a second)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def module_config_or_default(config: Mapping[str, Any]) -> Config:
    """Return the module's configuration, the default where it is not installed.

    Raises:
        ConfigProblemError: It is wrong.
    """
    return module_config(config) if names_module(config) else Config()


def names_module(config: Mapping[str, Any]) -> bool:
    modules = config.get("modules")
    return isinstance(modules, list) and any(map(is_ours, modules))


def whole_number(most: int) -> Any:
    """Return what reads a number from 1 to another."""

    def read(text: str) -> int:
        # Python refuses to read thousands of digits.
        short = len(text) <= len(str(most)) and text.isascii() and text.isdecimal()
        if not short or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:20]!r} is not 1 to {most}")
        return int(text)

    return read


def pause_s(text: str) -> float:
    """Read how long to rest, which may be not at all."""
    return 0 if text == "0" else seconds(text)


class RefusedError(Exception):
    """The command does not begin; the message says why."""


def begun(command: Callable[[], int], cannot: str) -> int:
    """Run a command and return its exit code; say in a line why it does not begin.

    `cannot` is what is said where the database fails, such as "Cannot read".
    """
    try:
        return command()
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"Cannot read the configuration: {error}"
    except (ConfigProblemError, RefusedError) as error:
        message = str(error)
    except DatabaseError as error:
        message = f"{cannot} the database: {error}"
    except StatementError as error:
        message = f"{cannot} the database: {error.__cause__}"
    print(message, file=sys.stderr)
    return CANNOT_SAY


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Give what Ctrl-C and SIGTERM set, so that a batch comes to its end."""
    stopped = threading.Event()
    earlier = [
        (each, signal.signal(each, lambda *_: stopped.set()))
        for each in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield stopped
    finally:
        for each, handler in earlier:
            signal.signal(each, handler)


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never has to wait: here every statement answers at once."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError

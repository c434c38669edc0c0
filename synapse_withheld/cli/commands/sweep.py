"""`synapse-withheld sweep`: delete the duplicates that are in the database already."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any, Coroutine, Mapping

import attrs

from synapse_withheld.cli.shared.codes import CANNOT_SAY, OK, WRONG
from synapse_withheld.cli.shared.database import Connection, DatabaseError, connect
from synapse_withheld.cli.shared.homeserver_yaml import (
    ConfigProblemError,
    module_config,
    read,
)
from synapse_withheld.cli.shared.place import Place, UnreadablePlaceError
from synapse_withheld.cli.shared.sweep_output import Bar, in_json, in_text
from synapse_withheld.config import Config
from synapse_withheld.database.database import Database, StatementError
from synapse_withheld.delivery.runtime import now_ts
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import (
    BATCH_SIZE,
    MOST_BATCH_SIZE,
    PAUSE_S,
    Options,
    Progress,
    Sweep,
)

MOST_PAUSE_S = 3600

EPILOG = """\
example:
  synapse-withheld sweep -c homeserver.yaml --dry-run
  synapse-withheld sweep -c homeserver.yaml

Synapse may run meanwhile, with and without the module. Ctrl-C ends it after the batch
that it is at; it can be run again at any time, and with --place FILE goes on where it
was.

exit codes: 0 it is done, 1 it was stopped or failed on the way, 2 the configuration
or the database could not be read
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = EPILOG
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="a file or directory of Synapse's configuration; may be repeated",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go, delete nothing"
    )
    parser.add_argument(
        "--batch-size",
        type=_rows,
        metavar="ROWS",
        help="how many rows to look at between pauses",
    )
    parser.add_argument(
        "--pause",
        type=_seconds,
        metavar="SECONDS",
        help="how long to rest after each batch",
    )
    parser.add_argument(
        "--place",
        type=Path,
        metavar="FILE",
        help="note there where it is, and begin where it says",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Sweep; return the exit code."""
    try:
        config = read(arguments.config_path).shared
        job = Job.of(arguments, _module_config(config))
        connection = connect(config)
    except OSError as error:
        return _cannot(f"Cannot read the configuration: {error}")
    except (ConfigProblemError, UnreadablePlaceError) as error:
        return _cannot(str(error))
    except DatabaseError as error:
        return _cannot(f"Cannot reach the database: {error}")
    try:
        finished = _driven(job.carry_out(connection))
    finally:
        connection.close()
    return OK if finished else WRONG


@attrs.define
class Job:
    """One run of the command."""

    options: Options
    pause_s: float
    place: Place
    as_json: bool
    _stopping: bool = attrs.field(default=False, init=False)

    @classmethod
    def of(cls, arguments: argparse.Namespace, config: Config) -> Job:
        """Return what the arguments and, where they say nothing, the module ask for.

        Raises:
            UnreadablePlaceError: The file with the place holds none.
        """
        options = Options(
            batch_size=arguments.batch_size or BATCH_SIZE,
            rules=Ruleset.of(config),
            dry_run=arguments.dry_run,
            now_ts=now_ts(),
        )
        pause_s = PAUSE_S if arguments.pause is None else arguments.pause
        place = Place.read(arguments.place, dry_run=arguments.dry_run)
        return cls(options, pause_s, place, arguments.json)

    async def carry_out(self, connection: Connection) -> bool:
        """Sweep to the end, unless asked to stop; say whether it got there."""
        backlog = Database(connection.run, connection.driver)
        sweep = Sweep(backlog, self.options, self.place.mailbox)
        earlier = [
            (each, signal.signal(each, self._stop))
            for each in (signal.SIGINT, signal.SIGTERM)
        ]
        try:
            await self._walk(sweep, Bar(await backlog.estimate()))
        except StatementError as error:
            print(f"The database failed: {error.__cause__}", file=sys.stderr)
        except OSError as error:
            print(f"Cannot note where it is: {error}", file=sys.stderr)
        finally:
            for each, handler in earlier:
                signal.signal(each, handler)
        self._tell(sweep.progress)
        return sweep.progress.done

    async def _walk(self, sweep: Sweep, bar: Bar) -> None:
        with bar:
            while not self._stopping and not sweep.progress.done:
                progress = await sweep.step()
                self.place.note(progress)
                bar.show(progress.rows)
                if not progress.done:
                    time.sleep(self.pause_s)

    def _tell(self, progress: Progress) -> None:
        in_words = in_json if self.as_json else in_text
        print(in_words(progress, dry_run=self.options.dry_run))

    def _stop(self, *_: object) -> None:
        self._stopping = True


def _module_config(config: Mapping[str, Any]) -> Config:
    """Return the module's configuration, the default where it is not installed.

    Raises:
        ConfigProblemError: It is wrong.
    """
    modules = config.get("modules")
    entries = modules if isinstance(modules, list) else []
    names = [str(each.get("module")) for each in entries if isinstance(each, dict)]
    installed = any(name.partition(".")[0] == "synapse_withheld" for name in names)
    return module_config(config) if installed else Config()


def _driven(coroutine: Coroutine[Any, Any, bool]) -> bool:
    """Run what never has to wait: here every statement answers at once."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return bool(end.value)
    raise AssertionError


def _cannot(message: str) -> int:
    print(message, file=sys.stderr)
    return CANNOT_SAY


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_BATCH_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to {MOST_BATCH_SIZE}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < MOST_PAUSE_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 to {MOST_PAUSE_S} seconds")
    return seconds

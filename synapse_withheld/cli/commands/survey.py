"""`synapse-withheld survey`: what waits in the database, and what would go."""

from __future__ import annotations

import argparse
import gc
import threading
from contextlib import closing
from typing import Any, Mapping

import attrs

from synapse_withheld.cli.shared.codes import OK, WRONG
from synapse_withheld.cli.shared.homeserver.homeserver_yaml import read
from synapse_withheld.cli.shared.walking import walk as walking
from synapse_withheld.cli.shared.walking.ahead import Ahead
from synapse_withheld.cli.shared.walking.bar import Bar
from synapse_withheld.cli.shared.walking.database import Connection, connect
from synapse_withheld.cli.shared.walking.survey_output import in_json, in_text
from synapse_withheld.config import Config
from synapse_withheld.database.survey import SurveyDatabase
from synapse_withheld.delivery.runtime import now_ts
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.survey import ALL_RULES, Survey
from synapse_withheld.sweep.walk import Options

# More than the sweep's: where nothing is deleted the database is done with so many in
# milliseconds, and each batch waits for it several times.
BATCH_SIZE = 5_000

DEFAULT_LIMIT = 10
MOST_LIMIT = 1_000

EPILOG = """\
example:
  synapse-withheld survey -c homeserver.yaml

Reads the tables of to-device messages and changes nothing. Synapse need not run, nor
the module be installed in it. It rests after each batch of rows; Ctrl-C ends it.

exit codes: 0 all was looked at, 1 it was stopped on the way, 2 the configuration or
the database could not be read
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    walking.add_arguments(parser)
    parser.add_argument(
        "--limit",
        type=walking.whole_number(MOST_LIMIT),
        default=DEFAULT_LIMIT,
        metavar="NUMBER",
        help="how many of the longest mailboxes and outboxes to show "
        f"(default: {DEFAULT_LIMIT})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Survey; return the exit code."""
    return walking.begun(lambda: _run(arguments), "Cannot read")


def _run(arguments: argparse.Namespace) -> int:
    config = read(arguments.config_path).shared
    module = walking.module_config_or_default(config)
    with closing(connect(config)) as connection:
        return _survey(arguments, config, module, connection)


def _survey(
    arguments: argparse.Namespace,
    config: Mapping[str, Any],
    module: Config,
    connection: Connection,
) -> int:
    ahead = Ahead(lambda: connect(config))
    try:
        rows = SurveyDatabase(connection.run, connection.driver, ahead.walk)
        survey = Survey(
            rows,
            Options(
                batch_size=arguments.batch_size or BATCH_SIZE,
                rules=Ruleset.of(attrs.evolve(module, rules=ALL_RULES)),
                dry_run=True,
                now_ts=now_ts(),
            ),
            arguments.limit,
        )
        # Nothing here is made in circles, and looking for them takes its time.
        gc.disable()
        bar = Bar(walking.driven(rows.estimate()))
        with walking.stoppable() as stopped, bar:
            _walk(survey, bar, stopped, arguments.pause)
        survey.end()
    finally:
        gc.enable()
        ahead.close()
    print((in_json if arguments.json else in_text)(survey, module))
    return OK if survey.done else WRONG


def _walk(survey: Survey, bar: Bar, stopped: threading.Event, pause_s: float) -> None:
    while not survey.done and not stopped.is_set():
        walking.driven(survey.step())
        bar.show(survey.rows)
        if not survey.done:
            stopped.wait(pause_s)

"""`synapse-withheld survey`: what waits in the database, and what would go."""

from __future__ import annotations

import argparse
import gc
import json
import threading
from contextlib import closing, contextmanager
from typing import Any, Iterator, Mapping

import attrs

from synapse_withheld.cli.arguments import OK, WRONG, whole_number
from synapse_withheld.cli.homeserver.configuration import find_module, parsed, read
from synapse_withheld.cli.walking import walk as walking
from synapse_withheld.cli.walking.database import connect
from synapse_withheld.cli.walking.parallel import Aside, Rest, reading_ahead
from synapse_withheld.cli.walking.survey_output import in_json, in_text
from synapse_withheld.database.survey import SurveyDatabase
from synapse_withheld.delivery.runtime import now_ts
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.survey import ALL_RULES, Survey, Surveyed
from synapse_withheld.sweep.walk import Options

# More than the sweep's: where nothing is deleted the database is done with so many in
# milliseconds, and each batch waits for it several times.
BATCH_SIZE = 5_000

# How often it is looked what the second process has told, where this one is done.
LOOK_EVERY_S = 0.1

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


@attrs.frozen
class _Part:
    """What one process surveys; `below` and `down_to` as of `Survey`."""

    config: Mapping[str, Any]
    options: Options
    limit: int
    pause_s: float
    below: str | None
    down_to: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    walking.add_arguments(parser, BATCH_SIZE)
    parser.add_argument(
        "--limit",
        type=whole_number(MOST_LIMIT),
        default=DEFAULT_LIMIT,
        metavar="NUMBER",
        help="how many of the longest mailboxes and outboxes to show "
        f"(default: {DEFAULT_LIMIT})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Survey; return the exit code."""
    config = read(arguments.config_path).shared
    module = parsed(find_module(config))
    rules = Ruleset.of(attrs.evolve(module, rules=ALL_RULES))
    options = Options(arguments.batch_size, rules, dry_run=True, now_ts=now_ts())
    with _opened(config) as database:
        middle = walking.driven(database.middle())
        bar = walking.Bar(walking.driven(database.estimate()))
        part = _Part(config, options, arguments.limit, arguments.pause, middle)
        with walking.stoppable() as stopped, bar:
            found = _both(database, part, bar, stopped)
    said = in_json(found, module)
    print(json.dumps(said) if arguments.json else in_text(said))
    return OK if found.done else WRONG


def _both(
    database: SurveyDatabase, lower: _Part, bar: walking.Bar, stopped: threading.Event
) -> Surveyed:
    """Survey what is below the middle in a second process, and the rest in this one.

    Most of the time goes into Python, which keeps one processor busy in each process.
    """

    def rest(rows: int, pause_s: float) -> bool:
        if aside is not None:
            aside.hear()
            rows += aside.rows
        bar.show(rows)
        return stopped.wait(pause_s)

    if lower.below is None:
        aside = None
        return _survey(rest, database, lower)
    with closing(Aside(_survey_aside, lower)) as aside:
        upper = attrs.evolve(lower, below=None, down_to=lower.below)
        found = _survey(rest, database, upper)
        while aside.result is None:
            if stopped.is_set():
                aside.stop()
            aside.hear(LOOK_EVERY_S)
            bar.show(found.inbox.kinds.total.rows + aside.rows)
        found.follow(aside.result)
    return found


def _survey_aside(rest: Rest, part: _Part) -> Surveyed:
    with _opened(part.config) as database:
        return _survey(rest, database, part)


def _survey(rest: Rest, database: SurveyDatabase, part: _Part) -> Surveyed:
    """Survey a part, or what there is of it until it is to stop."""
    survey = Survey(
        database, part.options, part.limit, below=part.below, down_to=part.down_to
    )
    # Nothing here is made in circles, and looking for them takes its time.
    gc.disable()
    try:
        done = stopped = False
        while not done and not stopped:
            walking.driven(survey.step())
            done = survey.found.done
            stopped = rest(survey.rows, 0 if done else part.pause_s)
    finally:
        gc.enable()
    return survey.end()


@contextmanager
def _opened(config: Mapping[str, Any]) -> Iterator[SurveyDatabase]:
    ahead = reading_ahead(lambda: connect(config))
    with ahead as walk, closing(connect(config)) as connection:
        yield SurveyDatabase(connection.run, connection.driver, walk)

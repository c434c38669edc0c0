"""`synapse-withheld survey`: what waits in the database, and what would go."""

from __future__ import annotations

import argparse
import gc
import json
from contextlib import closing
from functools import partial
from typing import Any, Callable, Mapping, Optional, Tuple

import attrs

from synapse_withheld.cli.arguments import OK, WRONG, whole_number
from synapse_withheld.cli.commands.survey_output import in_json, in_text
from synapse_withheld.cli.homeserver.configuration import find_module, parsed, read
from synapse_withheld.cli.walking import walk as walking
from synapse_withheld.cli.walking.database import connect
from synapse_withheld.cli.walking.parallel import Aside, reading_ahead
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


# Users whose mailboxes are surveyed: those below one, and from one on.
Part = Tuple[Optional[str], str]
EVERYTHING: Part = (None, "")


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
    config = read(arguments.config_path).shared
    module = parsed(find_module(config))
    rules = Ruleset.of(attrs.evolve(module, rules=ALL_RULES))
    options = Options(arguments.batch_size, rules, dry_run=True, now_ts=now_ts())
    with closing(connect(config)) as connection:
        database = SurveyDatabase(connection.run, connection.driver, connection.run)
        middle = walking.driven(database.middle())
        of_about = walking.driven(database.estimate())
    survey = partial(_survey, arguments, config, options)
    with walking.resting(of_about) as rest:
        found = (
            survey(EVERYTHING, rest) if middle is None else _both(survey, middle, rest)
        )
    said = in_json(found, module)
    print(json.dumps(said) if arguments.json else in_text(said))
    return OK if found.done else WRONG


def _both(
    survey: Callable[[Part, walking.Rest], Surveyed], middle: str, rest: walking.Rest
) -> Surveyed:
    """Survey what is below the middle in a second process, and the rest in this one.

    Most of the time goes into Python, which keeps one processor busy in each process.
    """

    def rest_of_both(rows: int, pause_s: float) -> bool:
        aside.hear()
        return rest(rows + aside.rows, pause_s)

    with closing(Aside(partial(survey, (middle, "")))) as aside:
        found = survey((None, middle), rest_of_both)
        while aside.result is None:
            if rest(found.inbox.kinds.total.rows + aside.rows, 0):
                aside.stop()
            aside.hear(LOOK_EVERY_S)
        found.follow(aside.result)
    return found


def _survey(
    arguments: argparse.Namespace,
    config: Mapping[str, Any],
    options: Options,
    part: Part,
    rest: walking.Rest,
) -> Surveyed:
    """Survey a part, or what there is of it until it is to stop."""
    below, down_to = part
    ahead = reading_ahead(lambda: connect(config))
    # Nothing here is made in circles, and looking for them takes its time.
    gc.disable()
    try:
        with ahead as walk, closing(connect(config)) as connection:
            database = SurveyDatabase(connection.run, connection.driver, walk)
            limit = arguments.limit
            survey = Survey(database, options, limit, below=below, down_to=down_to)
            stopped = False
            while not survey.found.done and not stopped:
                walking.driven(survey.step())
                stopped = rest(survey.rows, 0 if survey.found.done else arguments.pause)
    finally:
        gc.enable()
    return survey.end()

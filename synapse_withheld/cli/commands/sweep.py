"""`synapse-withheld sweep`: delete the duplicates that are in the database already."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from synapse_withheld.cli.arguments import OK, WRONG, CannotSayError
from synapse_withheld.cli.homeserver.configuration import find_module, parsed, read
from synapse_withheld.cli.tables import table
from synapse_withheld.cli.walking import walk as walking
from synapse_withheld.cli.walking.database import connect
from synapse_withheld.cli.walking.place import Place, noted_in
from synapse_withheld.database.database import Database, StatementError
from synapse_withheld.delivery.runtime import now_ts
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import BATCH_SIZE, Options, Progress, Sweep

EPILOG = """\
example:
  synapse-withheld sweep -c homeserver.yaml --dry-run
  synapse-withheld sweep -c homeserver.yaml

Synapse may run meanwhile, with and without the module. Ctrl-C ends it after the batch
that it is at; it can be run again at any time, and with --place FILE goes on where it
was. In 'mode: observe', and where the files do not name the module, it deletes
nothing unless --enforce is given.

exit codes: 0 it is done, 1 it was stopped or failed on the way, 2 it did not begin: the
configuration, the database or the place cannot be used, or nothing is to be deleted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    walking.add_arguments(parser, BATCH_SIZE)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--dry-run", action="store_true", help="say what would go, delete nothing"
    )
    how.add_argument(
        "--enforce",
        action="store_true",
        help="delete, though the module's 'mode' is observe, or no file names it",
    )
    parser.add_argument(
        "--place",
        type=Path,
        metavar="FILE",
        help="note there where it is, and begin where it says",
    )


def run(arguments: argparse.Namespace) -> int:
    shared = read(arguments.config_path).shared
    entry = find_module(shared)
    config = parsed(entry)
    dry_run: bool = arguments.dry_run
    # By default it deletes only where it is known in which mode the module runs.
    if not (dry_run or arguments.enforce or (entry and config.enforces)):
        why = "the module's 'mode' is observe"
        if entry is None:
            why = "the files do not name the module; give every file that Synapse reads"
        raise CannotSayError(
            f"Nothing is deleted: {why}. Give --dry-run to see what would go, or "
            "--enforce to delete it."
        )
    options = Options(arguments.batch_size, Ruleset.of(config), dry_run, now_ts())
    rules = [rule.name for rule in options.rules.rules]
    if not rules:
        raise CannotSayError("All 'rules' are false: there is nothing to look for.")
    with closing(connect(shared, writes=not dry_run)) as connection:
        work = {
            "database": connection.name,
            "rules": rules,
            "merge_scopes": config.merge_scopes,
            "dry_run": dry_run,
        }
        database = Database(connection.run, connection.driver)
        with noted_in(arguments.place, work) as place:
            progress = _swept(database, options, place, arguments.pause)
    said = in_json(progress, dry_run=dry_run)
    print(json.dumps(said) if arguments.json else in_text(said))
    return OK if progress.done else WRONG


def _swept(
    database: Database, options: Options, place: Place, pause_s: float
) -> Progress:
    """Sweep to the end, unless asked to stop or something fails on the way."""
    begin, note = place
    sweep = Sweep(database, options, begin)
    try:
        with walking.resting(walking.driven(database.estimate())) as rest:
            stopped = False
            while not stopped and not sweep.progress.done:
                progress = walking.driven(sweep.step())
                note(progress)
                stopped = rest(progress.rows, 0 if progress.done else pause_s)
    except StatementError as error:
        print(error.__cause__, file=sys.stderr)
    except OSError as error:
        print(f"Cannot note where it is: {error}", file=sys.stderr)
    return sweep.progress


def in_json(progress: Progress, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "rows": progress.rows,
        **attrs.asdict(progress.total),
        "rules": {name: attrs.asdict(each) for name, each in progress.rules.items()},
        "done": progress.done,
    }


def in_text(said: dict[str, Any]) -> str:
    rules, gone = said["rules"].items(), said["redundant"] - said["left_alone"]
    end = [("deleted", said["deleted"]), ("bytes deleted", said["bytes"])]
    if said["dry_run"]:
        end = [("would be deleted", gone), ("bytes that would go", said["bytes"])]
    rows = [
        ("rows looked at", said["rows"]),
        ("notices", said["notices"]),
        *((f"  of rule {rule}", each["notices"]) for rule, each in rules),
        ("redundant", said["redundant"]),
        *((f"  of rule {rule}", each["redundant"]) for rule, each in rules),
        ("left: device being deleted", said["left_alone"]),
        *end,
    ]
    lines = table([(name, f"{count:>14,}") for name, count in rows])
    return "\n".join(lines if said["done"] else [*lines, "stopped before the end"])

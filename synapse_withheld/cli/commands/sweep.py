"""`synapse-withheld sweep`: delete the duplicates that are in the database already."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Mapping

import attrs

from synapse_withheld.cli.codes import OK, WRONG
from synapse_withheld.cli.homeserver.configuration import read
from synapse_withheld.cli.tables import table
from synapse_withheld.cli.walking import walk as walking
from synapse_withheld.cli.walking.bar import Bar
from synapse_withheld.cli.walking.database import Connection, connect
from synapse_withheld.cli.walking.place import Place, Work
from synapse_withheld.config import Config
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
    walking.add_arguments(parser)
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
    """Sweep; return the exit code."""
    return walking.begun(lambda: _run(arguments), "Cannot use")


def _run(arguments: argparse.Namespace) -> int:
    shared = read(arguments.config_path).shared
    config = walking.module_config_or_default(shared)
    _refuse(config, arguments)
    with closing(connect(shared, writes=not arguments.dry_run)) as connection:
        _refuse_unnamed(shared, arguments)
        return _sweep(arguments, config, connection)


def _refuse(config: Config, arguments: argparse.Namespace) -> None:
    if not config.enforces and not (arguments.dry_run or arguments.enforce):
        raise walking.RefusedError(
            "The module's 'mode' is observe, so nothing is deleted: give --dry-run to "
            "see what would go, or --enforce to delete it."
        )
    if not Ruleset.of(config).rules:
        raise walking.RefusedError(
            "All 'rules' are false: there is nothing to look for."
        )


def _refuse_unnamed(shared: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Delete by default only where it is known in which mode the module runs."""
    if not (walking.names_module(shared) or arguments.dry_run or arguments.enforce):
        raise walking.RefusedError(
            "The files do not name the module, so nothing is deleted: give every file "
            "that Synapse reads, or --enforce to delete by the default rules, or "
            "--dry-run."
        )


def _sweep(
    arguments: argparse.Namespace, config: Config, connection: Connection
) -> int:
    dry_run: bool = arguments.dry_run
    options = Options(
        batch_size=arguments.batch_size or BATCH_SIZE,
        rules=Ruleset.of(config),
        dry_run=dry_run,
        now_ts=now_ts(),
    )
    names = tuple(rule.name for rule in options.rules.rules)
    work = Work(connection.name, names, config.merge_scopes, dry_run)
    place = Place(arguments.place, work)
    backlog = Database(connection.run, connection.driver)
    sweep = Sweep(backlog, options, place.mailbox)
    try:
        walking.driven(_walk(sweep, place, backlog, arguments.pause))
    except StatementError as error:
        print(f"The database failed: {error.__cause__}", file=sys.stderr)
    except OSError as error:
        print(f"Cannot note where it is: {error}", file=sys.stderr)
    finally:
        place.close()
    in_words = in_json if arguments.json else in_text
    print(in_words(sweep.progress, dry_run=dry_run))
    return OK if sweep.progress.done else WRONG


async def _walk(sweep: Sweep, place: Place, backlog: Database, pause_s: float) -> None:
    """Sweep to the end, unless asked to stop."""
    bar = Bar(await backlog.estimate())
    with walking.stoppable() as stopped, bar:
        while not stopped.is_set() and not sweep.progress.done:
            progress = await sweep.step()
            place.note(progress)
            bar.show(progress.rows)
            if not progress.done:
                stopped.wait(pause_s)


def in_text(progress: Progress, *, dry_run: bool) -> str:
    """Return the summary of a sweep."""
    total, rules = progress.total, progress.rules.items()
    if dry_run:
        gone = total.redundant - total.left_alone
        end = [("would be deleted", gone), ("bytes that would go", total.bytes)]
    else:
        end = [("deleted", total.deleted), ("bytes deleted", total.bytes)]
    rows = [
        ("rows looked at", progress.rows),
        ("notices", total.notices),
        *((f"  of rule {rule}", each.notices) for rule, each in rules),
        ("redundant", total.redundant),
        *((f"  of rule {rule}", each.redundant) for rule, each in rules),
        ("left: device being deleted", total.left_alone),
        *end,
    ]
    lines = table([(name, f"{count:>14,}") for name, count in rows])
    return "\n".join(lines if progress.done else [*lines, "stopped before the end"])


def in_json(progress: Progress, *, dry_run: bool) -> str:
    """Return the same as a JSON object."""
    said = {
        "dry_run": dry_run,
        "rows": progress.rows,
        **attrs.asdict(progress.total),
        "rules": {name: attrs.asdict(each) for name, each in progress.rules.items()},
        "done": progress.done,
    }
    return json.dumps(said)

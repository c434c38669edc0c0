"""`synapse-withheld explain`: what the rule decides about messages, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterable

import yaml

from synapse_withheld import config as configuration
from synapse_withheld.cli.arguments import OK, WRONG, CannotSayError
from synapse_withheld.cli.explaining.explainer import HAPPENS, Explainer
from synapse_withheld.cli.explaining.messages import NotUnderstoodError, numbered
from synapse_withheld.config import Config, InvalidConfigError

EPILOG = """\
example:
  synapse-withheld explain messages.jsonl
  synapse-withheld explain --set repeat=session -

Each line of FILE is a JSON object: a to-device message with sender, type and
content, or with these inside of "message"; or a row of Synapse's table
device_inbox, whose message_json holds them. user_id and device_id say for whom
it is; without them all are for one device. FILE may also be the answer to a /sync, or
a JSON array of messages; then they are numbered instead of the lines. Between messages,
{"acknowledged": true} lets the device read what is queued, {"restarted": true}
restarts Synapse, {"device_changed": true} changes the device, and
{"hours_passed": 25} lets time pass.

The lines of the file are taken for new messages, sent in this order to empty
mailboxes, by senders who are who they say. Nothing leaves this process.

exit codes: 0 every line was explained, 1 some were not understood, 2 none could
be read
"""

_COLUMNS = ("line", "decision", "reason", "rule", "pair", "key", "why")
# While it is made nobody knows how wide the columns of a table will be.
_ROW = "{line:>4}  {decision:<9}  {reason:<14}  {rule:<8}  {pair:>4}  {key:<6}  {why}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the messages; - to read them")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the module's configuration, such as merge_scopes=false or "
        "rules.withheld=true",
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain each line of a file; return the exit code."""
    explainer = Explainer(parse_settings(arguments.set))
    text = _read(arguments.file)
    decided: Counter[str] = Counter()
    code = OK
    if not arguments.json:
        print(_ROW.format(**dict(zip(_COLUMNS, _COLUMNS))))
    for number, line in numbered(text):
        try:
            explanations = explainer.explain(number, line)
        except NotUnderstoodError as error:
            print(f"Line {number} is not understood: {error}", file=sys.stderr)
            code = WRONG
            continue
        for each in explanations:
            decided[each.decision] += each.decision != HAPPENS
            said = each._asdict()
            print(json.dumps(said) if arguments.json else in_text(**said))
    counts = ", ".join(f"{decided[name]} {name}" for name in sorted(+decided))
    print(f"{counts or 'No messages'}; {explainer.left} queued.", file=sys.stderr)
    return code


def parse_settings(settings: Iterable[str]) -> Config:
    """Return the module's configuration with some keys set, as `key=value`.

    Values are as in YAML; in keys below others there are dots, as in messages.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise CannotSayError(
                f"--set: must be KEY=VALUE, such as repeat=session; found '{setting}'"
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        above, dot, below = key.partition(".")
        if dot:
            others = values.get(above)
            value = {**(others if isinstance(others, dict) else {}), below: value}
        values[above] = value
    try:
        return configuration.parse(values)
    except InvalidConfigError as error:
        raise CannotSayError(f"--set: {error}") from error


def in_text(*, pair: int | None, why: str, earlier: int | None, **more: Any) -> str:
    why += f" (line {earlier})" if earlier else ""
    return _ROW.format(pair=pair or "", why=why, **more)


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotSayError(f"Cannot read {name}: {error}") from error

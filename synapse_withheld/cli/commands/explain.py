"""`synapse-withheld explain`: what the rule decides about messages, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ContextManager, Iterable, TextIO

import attrs
import yaml

from synapse_withheld import config as configuration
from synapse_withheld.cli.codes import CANNOT_SAY, OK, WRONG
from synapse_withheld.cli.explaining.explainer import (
    HAPPENS,
    Explainer,
    Explanation,
    ModuleFailedError,
)
from synapse_withheld.cli.explaining.messages import (
    NotUnderstoodError,
    numbered,
    understood,
)
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

_HEADER = ("line", "decision", "reason", "rule", "pair", "key", "why")


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
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Explain each line of a file; return the exit code."""
    try:
        config = parse_settings(arguments.set)
        with _opened(arguments.file) as lines:
            return _explain_all(lines, Explainer(config), as_json=arguments.json)
    except InvalidConfigError as error:
        print(f"--set: {error}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        print(f"Cannot read {arguments.file}: {error}", file=sys.stderr)
    except ModuleFailedError as error:
        print(f"The module failed at stage '{error}'.", file=sys.stderr)
    return CANNOT_SAY


def parse_settings(settings: Iterable[str]) -> Config:
    """Return the module's configuration with some keys set, as `key=value`.

    Values are as in YAML; in keys below others there are dots, as in messages.

    Raises:
        InvalidConfigError: A key is unknown or its value is not usable.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InvalidConfigError(
                f"must be KEY=VALUE, such as repeat=session; found '{setting}'"
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        *above, last = key.split(".")
        inside = values
        for name in above:
            if not isinstance(inside.get(name), dict):
                inside[name] = {}
            inside = inside[name]
        inside[last] = value
    return configuration.parse(values)


def in_text(explanation: Explanation) -> str:
    """Return an explanation as a line of a table."""
    why = explanation.why
    if explanation.earlier is not None:
        why += f" (line {explanation.earlier})"
    pair = "" if explanation.pair is None else str(explanation.pair)
    cells = (str(explanation.line), explanation.decision, explanation.reason)
    return _aligned((*cells, explanation.rule, pair, explanation.key, why))


def _explain_all(lines: Iterable[str], explainer: Explainer, *, as_json: bool) -> int:
    decided: Counter[str] = Counter()
    not_understood = 0
    if not as_json:
        print(_aligned(_HEADER))
    for number, line in numbered(lines):
        try:
            explanations = explainer.explain(number, understood(line))
        except NotUnderstoodError as error:
            print(f"Line {number} is not understood: {error}", file=sys.stderr)
            not_understood += 1
            continue
        for each in explanations:
            if each.decision != HAPPENS:
                decided[each.decision] += 1
            print(json.dumps(attrs.asdict(each)) if as_json else in_text(each))
    counts = ", ".join(f"{count} {name}" for name, count in sorted(decided.items()))
    print(f"{counts or 'No messages'}; {explainer.left} queued.", file=sys.stderr)
    return WRONG if not_understood else OK


def _opened(name: str) -> ContextManager[TextIO]:
    if name == "-":
        return nullcontext(sys.stdin)
    # PowerShell and Notepad begin files with a byte order mark.
    return Path(name).open(encoding="utf-8-sig")


def _aligned(cells: tuple[str, str, str, str, str, str, str]) -> str:
    line, decision, reason, rule, pair, key, why = cells
    return (
        f"{line:>4}  {decision:<9}  {reason:<14}  {rule:<8}  {pair:>4}  {key:<6}  {why}"
    )

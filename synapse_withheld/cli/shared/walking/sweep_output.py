"""What `synapse-withheld sweep` shows."""

from __future__ import annotations

import json

import attrs

from synapse_withheld.cli.shared.tables import table
from synapse_withheld.sweep.walk import Progress


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

"""What `synapse-withheld sweep` shows."""

from __future__ import annotations

import json
from typing import Callable

import attrs

from synapse_withheld.sweep.walk import Counts, Progress


def in_text(progress: Progress, *, dry_run: bool) -> str:
    """Return the summary of a sweep."""
    total = progress.total
    lines = [
        ("rows looked at", progress.rows),
        ("notices", total.notices),
        *_by_rule(progress, lambda counts: counts.notices),
        ("redundant", total.redundant),
        *_by_rule(progress, lambda counts: counts.redundant),
        ("left: device being deleted", total.left_alone),
    ]
    if dry_run:
        lines.append(("would be deleted", total.redundant - total.left_alone))
        lines.append(("bytes that would go", total.bytes))
    else:
        lines.append(("deleted", total.deleted))
        lines.append(("bytes deleted", total.bytes))
    width = max(len(name) for name, _ in lines)
    in_lines = [f"{name:<{width}} {count:>15,}" for name, count in lines]
    if not progress.done:
        in_lines.append("stopped before the end")
    return "\n".join(in_lines)


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


def _by_rule(
    progress: Progress, count: Callable[[Counts], int]
) -> list[tuple[str, int]]:
    return [(f"  of rule {rule}", count(each)) for rule, each in progress.rules.items()]

"""What `synapse-withheld survey` shows."""

from __future__ import annotations

import json
from typing import Any, Collection, Iterable, Sequence

import attrs

from synapse_withheld.cli.tables import table
from synapse_withheld.config import Config
from synapse_withheld.sweep.inventory import Inventory, Long, Sums
from synapse_withheld.sweep.kinds import Kind
from synapse_withheld.sweep.survey import ALL_RULES, Orphans, Surveyed
from synapse_withheld.sweep.walk import Counts

# The JSON has all that were told apart.
SHOWN_KINDS = 20

_ADVICE = """\
  Nobody reads these; synapse_withheld leaves them alone. Synapse deletes those of one
  device when its admin API is asked to delete that device, even one that is gone:
  DELETE /_synapse/admin/v2/users/<user_id>/devices/<device_id>"""


def in_text(found: Surveyed, module: Config) -> str:
    """Return what was found as tables."""
    parts = [
        *_queue("device_inbox", "mailboxes", found.inbox),
        *_queue("device_federation_outbox", "servers", found.outbox),
        *_longest("the longest mailboxes", "syncs, user, device", found.inbox.longest),
        *_longest("the longest outboxes", "server", found.outbox.longest),
        "what each rule would remove from device_inbox",
        *_rules(found, module),
        "",
        *_unread(found),
    ]
    if not found.done:
        parts.append("\nstopped before the end")
    return "\n".join(parts)


def in_json(found: Surveyed, module: Config) -> str:
    """Return the same as a JSON object."""
    said = {
        "done": found.done,
        "inbox": {
            **_queue_data("mailboxes", found.inbox),
            "longest": [
                {
                    "user_id": each.name[0],
                    "device_id": each.name[1],
                    "syncs": each.syncs,
                    **_long_data(each),
                }
                for each in found.inbox.longest
            ],
            "gone": _unread_data(found.gone),
            "hidden": _unread_data(found.hidden),
        },
        "outbox": {
            **_queue_data("servers", found.outbox),
            "longest": [
                {"server": each.name[0], **_long_data(each)}
                for each in found.outbox.longest
            ],
        },
        "rules": {
            rule: {
                "on": is_on,
                "notices": counts.notices,
                "rows": _removed(counts),
                "bytes": counts.bytes,
                "left_alone": counts.left_alone,
            }
            for rule, is_on, counts in _by_rule(found, module)
        },
    }
    return json.dumps(said)


def _queue(name: str, names: str, tally: Inventory) -> list[str]:
    total, frequent = tally.kinds.total, tally.kinds.most_frequent()
    rows = [_row(sums, str(kind)) for kind, sums in frequent[:SHOWN_KINDS]]
    rest = Sums()
    for _, sums in frequent[SHOWN_KINDS:]:
        rest.add(sums.rows, sums.bytes)
    if rest.rows:
        rows.append(_row(rest, f"{len(frequent) - SHOWN_KINDS:,} others"))
    head = (
        f"{name}: {total.rows:,} rows, {total.bytes:,} bytes, {tally.names:,} {names}"
    )
    return [head, *(_table("rows, bytes, type", rows) if rows else []), ""]


def _row(sums: Sums, *more: str) -> tuple[str, ...]:
    return (f"{sums.rows:,}", f"{sums.bytes:,}", *more)


def _longest(title: str, columns: str, longest: list[Long]) -> list[str]:
    if not longest:
        return []
    of_devices = columns.startswith("syncs")
    rows = []
    for each in longest:
        shares = ", ".join(
            f"{kind} {part / each.rows:.0%}" for kind, part in each.kinds
        )
        syncs = [f"{each.syncs:,}"] if of_devices else []
        rows.append((f"{each.rows:,}", *syncs, *each.name, shares))
    header = f"rows, {columns}, most of it"
    return [title, *_table(header, rows, [0, 1] if of_devices else [0]), ""]


def _rules(found: Surveyed, module: Config) -> list[str]:
    rows = [
        (f"{_removed(counts):,}", f"{counts.bytes:,}", rule, "on" if is_on else "off")
        for rule, is_on, counts in _by_rule(found, module)
    ]
    return _table("rows, bytes, rule, is", rows)


def _unread(found: Surveyed) -> list[str]:
    gone, hidden = found.gone, found.hidden
    rows = [
        _row(each.sums, f"{each.mailboxes:,}", devices)
        for devices, each in (("gone", gone), ("hidden", hidden))
    ]
    return [
        "rows of devices that do not exist or are hidden",
        *_table("rows, bytes, mailboxes, device", rows, right=[0, 1, 2]),
        *([_ADVICE] if gone.sums.rows or hidden.sums.rows else []),
    ]


def _by_rule(found: Surveyed, module: Config) -> Iterable[tuple[str, bool, Counts]]:
    for name in attrs.asdict(ALL_RULES):
        counts = found.swept.rules.get(name, Counts())
        yield name, getattr(module.rules, name), counts


def _removed(counts: Counts) -> int:
    return counts.redundant - counts.left_alone


def _table(
    header: str, rows: Sequence[Sequence[str]], right: Collection[int] = (0, 1)
) -> list[str]:
    """Return a table, indented, with the names of its columns in one text."""
    return [f"  {line}" for line in table([header.split(", "), *rows], right)]


def _queue_data(names: str, tally: Inventory) -> dict[str, Any]:
    return {
        **attrs.asdict(tally.kinds.total),
        names: tally.names,
        "types": [
            {**_kind_data(kind), **attrs.asdict(sums)}
            for kind, sums in tally.kinds.most_frequent()
        ],
    }


def _long_data(each: Long) -> dict[str, Any]:
    types = [
        {**_kind_data(kind), "share": round(rows / each.rows, 4)}
        for kind, rows in each.kinds
    ]
    return {"rows": each.rows, "types": types}


def _kind_data(kind: Kind) -> dict[str, str]:
    return {"type": kind.type, **({"code": kind.code} if kind.code else {})}


def _unread_data(unread: Orphans) -> dict[str, int]:
    return {"mailboxes": unread.mailboxes, **attrs.asdict(unread.sums)}

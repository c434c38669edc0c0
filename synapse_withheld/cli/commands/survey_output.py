"""What `synapse-withheld survey` shows: a JSON object, and tables made of it."""

from __future__ import annotations

from typing import Any

import attrs

from synapse_withheld.cli.tables import table
from synapse_withheld.config import Config
from synapse_withheld.sweep.inventory import Inventory, Long
from synapse_withheld.sweep.kinds import Kind
from synapse_withheld.sweep.survey import Orphans, Surveyed
from synapse_withheld.sweep.walk import Counts

# The JSON has all that were told apart.
SHOWN_KINDS = 20

_ADVICE = """\
  Nobody reads these; synapse_withheld leaves them alone. Synapse deletes those of one
  device when its admin API is asked to delete that device, even one that is gone:
  DELETE /_synapse/admin/v2/users/<user_id>/devices/<device_id>"""


def in_json(found: Surveyed, module: Config) -> dict[str, Any]:
    mailboxes = [
        {**_long(each, "user_id", "device_id"), "syncs": each.syncs}
        for each in found.inbox.longest
    ]
    servers = [_long(each, "server") for each in found.outbox.longest]
    return {
        "done": found.done,
        "inbox": {
            **_queue("mailboxes", found.inbox),
            "longest": mailboxes,
            "gone": _unread(found.gone),
            "hidden": _unread(found.hidden),
        },
        "outbox": {**_queue("servers", found.outbox), "longest": servers},
        "rules": {
            name: _rule(is_on, found.swept.rules.get(name, Counts()))
            for name, is_on in attrs.asdict(module.rules).items()
        },
    }


def in_text(said: dict[str, Any]) -> str:
    inbox, outbox = said["inbox"], said["outbox"]
    mailboxes = [
        (each["rows"], each["syncs"], each["user_id"], each["device_id"], _most(each))
        for each in inbox["longest"]
    ]
    servers = [
        (each["rows"], each["server"], _most(each)) for each in outbox["longest"]
    ]
    rules = [
        (each["rows"], each["bytes"], name, "on" if each["on"] else "off")
        for name, each in said["rules"].items()
    ]
    unread = [
        (*map(inbox[name].get, ("rows", "bytes", "mailboxes")), name)
        for name in ("gone", "hidden")
    ]
    parts = [
        _types("device_inbox", "mailboxes", inbox),
        _types("device_federation_outbox", "servers", outbox),
        _table(
            "the longest mailboxes", "rows, syncs, user, device, most of it", mailboxes
        ),
        _table("the longest outboxes", "rows, server, most of it", servers),
        _table(
            "what each rule would remove from device_inbox",
            "rows, bytes, rule, is",
            rules,
        ),
        _table(
            "rows of devices that do not exist or are hidden",
            "rows, bytes, mailboxes, device",
            unread,
        ),
        _ADVICE if any(rows for rows, *_ in unread) else "",
        "" if said["done"] else "stopped before the end",
    ]
    return "\n\n".join(filter(None, parts))


def _queue(names: str, tally: Inventory) -> dict[str, Any]:
    types = [
        {**_kind(kind), **attrs.asdict(sums)}
        for kind, sums in tally.kinds.most_frequent()
    ]
    return {**attrs.asdict(tally.kinds.total), names: tally.names, "types": types}


def _long(each: Long, *names: str) -> dict[str, Any]:
    types = [
        {**_kind(kind), "share": round(rows / each.rows, 4)}
        for kind, rows in each.kinds
    ]
    return {**dict(zip(names, each.name)), "rows": each.rows, "types": types}


def _kind(kind: Kind) -> dict[str, str]:
    return {"type": kind.type, **({"code": kind.code} if kind.code else {})}


def _unread(unread: Orphans) -> dict[str, int]:
    return {"mailboxes": unread.mailboxes, **attrs.asdict(unread.sums)}


def _rule(is_on: object, counts: Counts) -> dict[str, Any]:
    return {
        "on": is_on,
        "notices": counts.notices,
        "rows": counts.redundant - counts.left_alone,
        "bytes": counts.bytes,
        "left_alone": counts.left_alone,
    }


def _types(name: str, names: str, queue: dict[str, Any]) -> str:
    types, others = queue["types"][:SHOWN_KINDS], queue["types"][SHOWN_KINDS:]
    rows = [(each["rows"], each["bytes"], _name(each)) for each in types]
    if others:
        rows.append(("", "", f"{len(others):,} others"))
    of = f"{queue['rows']:,} rows, {queue['bytes']:,} bytes, {queue[names]:,} {names}"
    return _table(f"{name}: {of}", "rows, bytes, type", rows) or f"{name}: {of}"


def _most(long: dict[str, Any]) -> str:
    return ", ".join(f"{_name(each)} {each['share']:.0%}" for each in long["types"])


def _name(kind: dict[str, Any]) -> str:
    return str(Kind(kind["type"], kind.get("code", "")))


def _table(title: str, header: str, rows: list[Any]) -> str:
    lines = table([header.split(", "), *rows])
    return "\n  ".join([title, *lines]) if rows else ""

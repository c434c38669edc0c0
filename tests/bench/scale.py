"""Whether a duplicate costs more in deep mailboxes, large tables, or of many senders.

The many senders send to mailboxes in memory: a Synapse would take hours for as many.
There the module's own code decides, and its statements are those of a Synapse.
"""

from __future__ import annotations

import time
from pathlib import Path

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from tests.bench.inbox import Inbox, notice_for
from tests.bench.lanes import Lane, each_duplicate, two_lanes
from tests.bench.report import say, show
from tests.harness.backlog import other
from tests.harness.servers.stage import two_on

NOTICES = 40

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT {user_id}, ?, n - 20000000, ? FROM generate_series(1, ?) AS n
"""
_HOW = (
    f"{NOTICES} duplicates one after the other, by another user's device, to a mailbox "
    "that the module did not know before the first. "
    "Wanted: one statement of the module's."
)
_MANY = (
    "{:,} senders to one device, {} rounds, in one process with SQLite in memory. "
    "Microseconds are per notice."
)


async def measure(directory: Path, quick: bool) -> None:
    depths = (10, 1_000, 5_000) if quick else (10, 1_000, 1_000_000)
    table = 20_000 if quick else 10_000_000
    async with two_lanes(directory) as lanes:
        rows = [await _row(f"{depth:,} rows", lanes, depth) for depth in depths]
        for lane in lanes:
            _fill(lane, "'@filler' || n / 1000 || ':hs'", "DEVICE", table)
        name = f"{depths[0]:,} rows of {table:,}"
        rows.append(await _row(name, lanes, depths[0]))
    show("Depth", rows, _HOW)
    _many_senders(*(300, 4) if quick else (10_000, 100))


async def _row(name: str, lanes: tuple[Lane, Lane], depth: int) -> dict[str, object]:
    say(f"Sending to mailboxes of {name}.")
    row: dict[str, object] = {"mailbox": name}
    for lane in lanes:
        two = await two_on(lane.homeserver)
        _fill(lane, f"'{two.recipient.user_id}'", two.recipient.device_id, depth)
        each = await each_duplicate(lane, two, NOTICES)
        row[f"statements, {lane.name}"] = each.statements
    return {**row, "the module's": each.of_module}


def _fill(lane: Lane, user_id: str, device_id: str, rows: int) -> None:
    sql = _FILL.format(user_id=user_id)
    lane.homeserver.query(sql, (device_id, other(), rows))
    lane.homeserver.query("ANALYZE device_inbox")


def _many_senders(senders: int, often: int) -> None:
    """Let many senders send often, to stock mailboxes and through the module."""
    say(f"{senders:,} senders, {often} times, in memory.")
    recipient, rows = ("@recipient:withheld.test", "AWAY"), []
    names = [f"@sender{number}:withheld.test" for number in range(senders)]
    batches = [notice_for(recipient, name) for name in names]
    for name in ("stock", "module"):
        inbox, us = Inbox(Config()), []
        inbox.add_device(recipient)
        for _ in range(often):
            began = time.thread_time()
            for batch in batches:
                driven(inbox.store(batch)) if name == "stock" else inbox.send(batch)
            us.append(1e6 * (time.thread_time() - began) / senders)
        left, told = inbox.count(), {"second round, µs": us[1], "last, µs": us[-1]}
        rows.append({"": name, "notices": senders * often, "rows left": left, **told})
    assert left == senders
    show("One device, very many senders", rows, _MANY.format(senders, often))

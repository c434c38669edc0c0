"""Whether a duplicate costs more in deep mailboxes, large tables, or of many senders.

The many senders send to mailboxes in memory: a Synapse would take hours for as many.
There the module's own code decides, and its statements are those of a Synapse.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.day import Inbox, notice_for
from tests.bench.lanes import Lane, each_duplicate, lanes
from tests.demo.output import say, show
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
    async with lanes(directory) as both:
        rows = [await _row(f"{depth:,} rows", both, depth) for depth in depths]
        for lane in both:
            _fill(lane, "'@filler' || n / 1000 || ':hs'", "DEVICE", table)
        name = f"{depths[0]:,} rows of {table:,}"
        rows.append(await _row(name, both, depths[0]))
    show("Depth", rows, _HOW)
    _many_senders(*(300, 4) if quick else (10_000, 100))


async def _row(name: str, lanes: list[Lane], depth: int) -> dict[str, object]:
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
    """Let many senders send often."""
    say(f"{senders:,} senders, {often} times, in memory.")
    recipient, inbox, us = ("@recipient:withheld.test", "AWAY"), Inbox(), []
    names = [f"@sender{number}:withheld.test" for number in range(senders)]
    batches = [notice_for(recipient, name) for name in names]
    inbox.add_device(recipient)
    for _ in range(often):
        began = time.thread_time()
        for batch in batches:
            inbox.send(batch)
        us.append(1e6 * (time.thread_time() - began) / senders)
    left = {"rows, stock": senders * often, "rows, module": inbox.count()}
    assert left["rows, module"] == senders
    took = {"µs, second round": us[1], "µs, last round": us[-1]}
    title = "One device, very many senders"
    show(title, [{**left, **took}], _MANY.format(senders, often))

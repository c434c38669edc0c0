"""What duplicates cost in storms, in deep mailboxes and of many senders; the memory.

The many senders send to mailboxes in memory: a Synapse would take hours for as many.
There the module's own code decides, and its statements are those of a Synapse.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from itertools import count
from pathlib import Path
from statistics import median

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import NoOlm
from tests.bench.asking import answers
from tests.bench.day import Inbox, notice_for
from tests.bench.lanes import Lane, each_duplicate, lanes
from tests.demo.output import say, show
from tests.harness.backlog import other
from tests.harness.messages import WITHHELD
from tests.harness.servers.stage import Two, two_on
from tests.harness.waiting import eventually

CONNECTIONS = (1, 8, 32)

_STORMS = count()
_STORM = (
    "Medians of {} rounds, stock and module in turns, each of {:g} s, by a process of "
    "its own; of one request, Synapse's regular work included. "
    "Wanted: as many requests as on stock, one statement, a tenth of the WAL."
)

NOTICES = 40

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT {user_id}, ?, n - 20000000, ? FROM generate_series(1, ?) AS n
"""
_SCALE = (
    f"{NOTICES} duplicates one after the other, by another user's device, to a mailbox "
    "that the module did not know before the first. "
    "Wanted: one statement of the module's."
)
_MANY = (
    "{:,} senders to one device, {} rounds, in one process with SQLite in memory. "
    "Microseconds are per notice."
)

# A client tells up to so many devices with one request.
DEVICES_OF_REQUEST = 250

_MEMORY = (
    "Rows at the limit, but for the first line. Told: how many devices each sender "
    "told; who told one shares nothing, as only servers do that make senders up. "
    "Bytes: all that is kept, as `tracemalloc` counts. Wanted: at most 500 where "
    f"{DEVICES_OF_REQUEST} were told."
)


async def storm(directory: Path, quick: bool) -> None:
    rounds, seconds = (1, 1.0) if quick else (5, 3.0)
    rows = []
    async with lanes(directory) as both:
        kinds = [(lane, await two_on(lane.homeserver)) for lane in both]
        for kind in kinds:
            # What happens only the first time is none of the matter.
            await _storm(*kind, 8, 1.0)
        for connections in CONNECTIONS:
            storms = [
                [await _storm(*kind, connections, seconds) for kind in kinds]
                for _ in range(rounds)
            ]
            typical = ([*map(median, zip(*each))] for each in zip(*storms))
            (stock_rate, stock_wal, _), (rate, wal, of_module) = typical
            row = {
                "connections": connections,
                "requests/s, stock": stock_rate,
                "module": rate,
                "module : stock": rate / stock_rate,
                "module's statements": of_module,
                "WAL, module : stock": wal / stock_wal,
            }
            rows.append(row)
        assert len(kinds[1][1].mailbox()) == 1
    title = "A storm of duplicates of one pair"
    show(title, rows, _STORM.format(rounds, seconds))


async def _storm(
    lane: Lane, two: Two, connections: int, seconds: float
) -> tuple[float, float, float]:
    """Return the requests a second, and of one the WAL and the module's statements."""
    messages, told = {two.recipient.user_id: {"AWAY": two.notice()}}, []

    async def blow() -> int:
        async with lane.asked(
            f"/_matrix/client/v3/sendToDevice/{WITHHELD}/{next(_STORMS)}-%d",
            method="PUT",
            headers={"Authorization": f"Bearer {two.sender.access_token}"},
            body=json.dumps({"messages": messages}),
            connections=connections,
            seconds=seconds,
        ) as process:
            await eventually(lambda: process.runs, expected=False)
        told.extend(answers(process.output))
        return len(told)

    each = await lane.each(blow)
    assert {answer.status for answer in told} == {200}
    took_s = max(a.ended_s for a in told) - min(a.ended_s - a.took_s for a in told)
    rate = len(told) / took_s
    say(f"  {lane.name}, {connections} at once: {rate:.0f}/s")
    return rate, each.wal_bytes, each.of_module


async def scale(directory: Path, quick: bool) -> None:
    depths = (10, 1_000, 5_000) if quick else (10, 1_000, 1_000_000)
    table = 20_000 if quick else 10_000_000
    async with lanes(directory) as both:
        rows = [await _row(f"{depth:,} rows", both, depth) for depth in depths]
        for lane in both:
            _fill(lane, "'@filler' || n / 1000 || ':hs'", "DEVICE", table)
        name = f"{depths[0]:,} rows of {table:,}"
        rows.append(await _row(name, both, depths[0]))
    show("Depth", rows, _SCALE)
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


async def memory(_: Path, quick: bool) -> None:
    pairs, lines = 10_000 if quick else 200_000, []
    limits = Limits(pairs)
    for rows, depth, told in (
        (10, 10, 1),
        (limits.mailboxes, 1, 1),
        (pairs, 10, 1),
        (pairs, 10, DEVICES_OF_REQUEST),
        (limits.of_mailbox, limits.of_mailbox, 1),
    ):
        weight = _weight(limits, rows, depth, told)
        state = {"rows": rows, "in each mailbox": depth, "told": told}
        lines.append({**state, "bytes per row": weight // rows, "MB": weight / 1e6})
    show("What the memory takes", lines, _MEMORY)


def _weight(limits: Limits, rows: int, depth: int, told: int) -> int:
    """Return the bytes of so many rows, so many of them in each mailbox."""
    tracemalloc.start()
    held = Memory(limits, sees_reads=False, hold_s=None)
    notices: dict[int, Notice] = {}
    for which in range(rows):
        mailbox = which // depth
        sender = which % depth + mailbox // told * depth
        if sender not in notices:
            device = f"device:DEVICE{sender:04}"
            pair = Pair(f"@sender{sender}:withheld.test", device, WITHHELD)
            notices[sender] = Notice(NoOlm(), pair, f"{sender:043}", "whole")
        # Nothing else is shared that would not be in a running Synapse.
        key = (f"@recipient{mailbox}:withheld.test", f"DEV{mailbox:07}")
        held.open(key, 0).learned = True
        notice = notices[sender]
        stored = held.begin(key, notice, notice.pair.sender, 0, 0.0)
        held.settle(stored, which + 1)
    del notices, stored
    gc.collect()
    weight = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return weight

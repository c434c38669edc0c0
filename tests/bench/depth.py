"""Whether a duplicate costs more in deep mailboxes, large tables, or of many senders.

The many senders send to mailboxes in memory: a Synapse would take hours for as many.
There the module's own code decides, and its statements are those of a Synapse.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from statistics import median

from twisted.internet.defer import ensureDeferred

from synapse_withheld.config import Config
from tests.bench.instruments.inbox import Inbox, notice_for
from tests.bench.instruments.synapses import Lane, two_lanes
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table, Target, say
from tests.bench.sizes import Sizes
from tests.harness.backlog import other
from tests.harness.servers.stage import Two, two_on

NOTICES = 40
# At most so much more in the last round of many senders than in the second.
FLAT = 1.2

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT {user_id}, ?, n - 20000000, ? FROM generate_series(1, ?) AS n
"""
_OTHERS = "'@filler' || n / 1000 || ':hs'"
_HEADER = (
    *("mailbox", "the module's statements", "all statements, stock", "module"),
    *("first request ms, stock", "module", "later ones, stock", "module"),
)
_HOW = (
    f"{NOTICES} duplicates one after the other, by another user's device, to a mailbox "
    "that the module does not know; the mean of all but the first, of time the median."
)
_MANY_HEADER = ("", "notices", "rows left", "second round, µs", "last round, µs")
_MANY_HOW = (
    "{:,} senders to one device, {} rounds, in one process with SQLite in memory. "
    "Microseconds are per notice."
)


async def measure(directory: Path, sizes: Sizes) -> Findings:
    depths = sizes.depths
    rows: list[tuple[str, ...]] = []
    asked: list[float] = []
    async with two_lanes(directory) as lanes:
        for depth in (*depths, depths[0]):
            name = f"{depth:,} rows"
            if len(rows) == len(depths):
                name += f" of {sizes.table:,}"
                for lane in lanes:
                    _fill(lane, _OTHERS, ("DEVICE", other()), sizes.table)
            say(f"Sending to mailboxes of {name}.")
            stock, module = [await _touch(lane, depth) for lane in lanes]
            asked.append(module[0])
            both = zip(stock[1:], module[1:])
            numbers = (module[0], *itertools.chain.from_iterable(both))
            rows.append((name, *(f"{each:.2f}" for each in numbers)))
    name = "depth: the module's statements for a duplicate, most"
    say(f"{sizes.senders:,} senders, {sizes.often} times, in memory.")
    return [
        Table("Depth", _HEADER, rows, _HOW),
        Target.most(name, max(asked), 1, binding=True),
        *_many_senders(sizes),
    ]


async def _touch(lane: Lane, depth: int) -> tuple[float, ...]:
    """Return statements of the module and all, and the times of the first and later."""
    two = await two_on(lane.homeserver)
    place = (two.recipient.user_id, two.recipient.device_id, other())
    _fill(lane, "?", place, depth)
    first_ms = await _send(two)
    await lane.at_rest()
    before = await Taken.by(lane)
    times = [await _send(two) for _ in range(NOTICES)]
    each = (await Taken.by(lane)).each(before, NOTICES)
    return each.of_module, each.statements, first_ms, median(times)


async def _send(two: Two) -> float:
    started = time.perf_counter()
    await two.send(two.notice())
    return 1000 * (time.perf_counter() - started)


def _fill(lane: Lane, user_id: str, place: tuple[str, ...], rows: int) -> None:
    lane.homeserver.query(_FILL.format(user_id=user_id), (*place, rows))
    lane.homeserver.query("ANALYZE device_inbox")


def _many_senders(sizes: Sizes) -> Findings:
    """Let many senders send often, to stock mailboxes and through the module."""
    rows, sent = [], f"{sizes.senders * sizes.often:,}"
    for name in ("stock", "module"):
        inbox = Inbox(Config())
        us = _rounds(inbox, sizes, as_stock=name == "stock")
        left = inbox.count()
        rows.append((name, sent, f"{left:,}", f"{us[1]:.0f}", f"{us[-1]:.0f}"))
    title, of_each = "One device, very many senders", left / sizes.senders
    how = _MANY_HOW.format(sizes.senders, sizes.often)
    return [
        Table(title, _MANY_HEADER, rows, how),
        Target.most("many senders: rows left, of each", of_each, 1, binding=True),
        Target.most("many senders: last round, to the second", us[-1] / us[1], FLAT),
    ]


def _rounds(inbox: Inbox, sizes: Sizes, *, as_stock: bool) -> list[float]:
    """Let every sender send a notice in each round; return microseconds of each."""
    recipient = ("@recipient:withheld.test", "AWAY")
    inbox.add_device(recipient)
    senders = [f"@sender{number}:withheld.test" for number in range(sizes.senders)]
    batches = [notice_for(recipient, sender) for sender in senders]
    us = []
    for _ in range(sizes.often):
        began = time.thread_time()
        for batch in batches:
            if as_stock:
                ensureDeferred(inbox.store(batch))
            else:
                inbox.send(batch)
        us.append(1e6 * (time.thread_time() - began) / sizes.senders)
    return us

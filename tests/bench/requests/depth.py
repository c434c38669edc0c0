"""Deep mailboxes and a large table: whether a duplicate costs more there."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Callable

import attrs

from tests.bench.alone import crowd
from tests.bench.instruments.lanes import Lane, Lanes, two_lanes
from tests.bench.instruments.people import People
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.backlog import other
from tests.harness.messages import WITHHELD

NOTICES = 40

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT {user_id}, ?, n - 20000000, ? FROM generate_series(1, ?) AS n
"""
_HEADER = (
    *("mailbox", "the module's statements", "all statements, stock", "module"),
    *("first request ms, stock", "module", "later ones, stock", "module"),
)
_HOW = (
    f"{NOTICES} duplicates one after the other, by another user's device, to a mailbox "
    "that the module does not know; the mean of all but the first, of time the median."
)


@attrs.frozen
class Touched:
    """What notices to one mailbox took; all but the first cost the same."""

    first_ms: float
    later_ms: float
    each: Taken


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Measure mailboxes of different depth, a large table, then many senders."""
    found: dict[str, list[Touched]] = {}
    async with two_lanes(directory) as lanes:
        for depth in sizes.depths:
            say(f"Sending to mailboxes of {depth:,} rows.")
            found[f"{depth:,} rows"] = await _touch_both(lanes, depth)
        say(f"Filling the table with {sizes.table:,} rows of others.")
        for lane in lanes:
            _fill(
                lane, "'@filler' || n / 1000 || ':hs'", ("DEVICE", other()), sizes.table
            )
        depth = sizes.depths[0]
        name = f"{depth:,} rows of {sizes.table:,}"
        found[name] = await _touch_both(lanes, depth)
    say(f"{sizes.senders:,} senders, {sizes.often} times, in memory.")
    rows = [_row(name, *touched) for name, touched in found.items()]
    asked = [module.each.of_module for _, module in found.values()]
    name = "depth: the module's statements for a duplicate, most"
    target = Target.most(name, max(asked), 1, binding=True)
    depths = Findings([Table("Depth", _HEADER, rows, [_HOW])], [target])
    return Findings.joined([depths, crowd.measure(sizes)])


async def _touch_both(lanes: Lanes, depth: int) -> list[Touched]:
    return [await _touch(lane, depth) for lane in lanes]


async def _touch(lane: Lane, depth: int) -> Touched:
    people = await People.on(lane)
    recipient = people.recipient
    place = (recipient.user_id, recipient.device_id, other())
    _fill(lane, "?", place, depth)
    first_ms = await _send(people)
    await lane.at_rest()
    before = await Taken.by(lane)
    times = [await _send(people) for _ in range(NOTICES)]
    each = (await Taken.by(lane)).each(before, NOTICES)
    return Touched(first_ms, median(times), each)


async def _send(people: People) -> float:
    started = time.perf_counter()
    await people.send(WITHHELD)
    return 1000 * (time.perf_counter() - started)


def _fill(lane: Lane, user_id: str, place: tuple[str, ...], rows: int) -> None:
    lane.homeserver.query(_FILL.format(user_id=user_id), (*place, rows))
    lane.homeserver.query("ANALYZE device_inbox")


def _row(name: str, stock: Touched, module: Touched) -> tuple[str, ...]:
    both = stock, module
    return (
        name,
        f"{module.each.of_module:.2f}",
        *(f"{each.each.statements:.2f}" for each in both),
        *(f"{each.first_ms:.1f}" for each in both),
        *(f"{each.later_ms:.1f}" for each in both),
    )

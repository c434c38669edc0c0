"""Deep mailboxes, large tables, many senders: whether more of them cost more."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any, Callable

import attrs

from tests.bench.alone import crowd
from tests.bench.instruments.counting import AFTERMATH_S, count
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.people import People
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD, make_key, make_notice
from tests.harness.databases.backlog import other
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.polling import pause

NOTICES = 40
# At most so much more where there is more, and so long for a first touch.
FLAT, FIRST_TOUCH_MS = 1.2, 50.0
# A transaction between servers has at most so many.
EDUS_AT_ONCE = 100
ARRIVED_WITHIN_S = 600.0

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT {user_id}, ?, n - 20000000, ? FROM generate_series(1, ?) AS n
"""


@attrs.frozen
class Touched:
    """What notices to one mailbox took.

    Attributes:
        first_ms: The request with the first of them.
        later_ms: A request with another, the median.
        decision_ms: The decision alone: of the first, and of others on average.
        statements: Of Synapse's and the module's for one of the others.
    """

    first_ms: float
    later_ms: float
    decision_ms: tuple[float, float]
    statements: float


async def measure(
    lanes: tuple[Lane, Lane], sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Measure mailboxes of different depth, a large table, then many senders."""
    lines, touched = [], {}
    for depth in sizes.depths:
        say(f"Sending to mailboxes of {depth:,} rows.")
        touched[depth] = await _touch_both(lanes, depth)
        lines.append(_line(f"{depth:,} rows", touched[depth]))
    say(f"Filling the table with {sizes.table:,} rows of others.")
    for lane in lanes:
        _fill_table(lane, sizes.table)
    large = await _touch_both(lanes, sizes.depths[0])
    lines.append(_line(f"{sizes.depths[0]:,} rows of {sizes.table:,}", large))
    header = (
        "mailbox",
        "first, decision ms",
        "later, decision ms",
        "statements, stock",
        "module",
        "request ms, stock",
        "module",
    )
    how = (
        f"{NOTICES} duplicates one after the other, by another user's device, to a "
        "mailbox that the module does not know. The decision is the module's own "
        "metric, with its statements and waits."
    )
    say(f"Sending by {sizes.senders:,} senders of another server.")
    few_times, few_times_targets = await _crowd(lanes, sizes)
    say(f"The same {sizes.often} times in memory.")
    often = crowd.measure(sizes)
    return Findings(
        [Table("Depth", header, lines, [how]), few_times, *often.tables],
        [*_targets(sizes, touched, large), *few_times_targets, *often.targets],
    )


async def _touch_both(lanes: tuple[Lane, Lane], depth: int) -> dict[str, Touched]:
    return {lane.name: await _touch(lane, depth) for lane in lanes}


async def _touch(lane: Lane, depth: int) -> Touched:
    people = await People.on(lane)
    recipient = people.recipient
    sql = _FILL.format(user_id="?")
    lane.homeserver.query(sql, (recipient.user_id, recipient.device_id, other(), depth))
    lane.homeserver.query("ANALYZE device_inbox")
    before = await _decided(lane)
    first_ms = await _send(people)
    between = await _decided(lane)
    await pause(AFTERMATH_S)
    times: list[float] = []

    async def send_all() -> None:
        times.extend([await _send(people) for _ in range(NOTICES)])

    window = await count(lane, send_all)
    after = await _decided(lane)
    of_requests = sum(window.statements.of_requests.values())
    return Touched(
        first_ms,
        median(times),
        (_mean_ms(before, between), _mean_ms(between, after)),
        of_requests / NOTICES,
    )


async def _send(people: People) -> float:
    started = time.perf_counter()
    await people.send(WITHHELD)
    return 1000 * (time.perf_counter() - started)


async def _decided(lane: Lane) -> tuple[float, float]:
    """Return how many batches were decided about, and how many seconds it took."""
    metrics = await lane.homeserver.metrics()
    name = "synapse_withheld_decision_seconds"
    found = {
        key: sum(v for each, v in metrics.items() if each.startswith(name + key))
        for key in ("_count", "_sum")
    }
    return found["_count"], found["_sum"]


def _mean_ms(before: tuple[float, float], after: tuple[float, float]) -> float:
    batches = after[0] - before[0]
    return 1000 * (after[1] - before[1]) / batches if batches else 0.0


def _fill_table(lane: Lane, rows: int) -> None:
    sql = _FILL.format(user_id="'@filler' || n / 1000 || ':hs'")
    lane.homeserver.query(sql, ("DEVICE", other(), rows))
    lane.homeserver.query("ANALYZE device_inbox")


async def _crowd(lanes: tuple[Lane, Lane], sizes: Sizes) -> tuple[Table, list[Target]]:
    """Let very many users of another server send to one device, again and again."""
    lines, left = [], {}
    for lane in lanes:
        remote = RemoteServer()
        await remote.start()
        try:
            people = await People.on(lane)
            grown = _resident(lane)
            seconds = await _flood(lane, remote, people, sizes)
            left[lane.name] = lane.rows_in_mailbox(people.recipient)
            edus = sizes.senders * sizes.times
            grown = _resident(lane) - grown
            rows = f"{left[lane.name]:,}"
            rate = f"{edus / seconds:,.0f}"
            lines.append((lane.name, f"{edus:,}", rows, rate, f"{grown / 1e6:.0f}"))
        finally:
            await remote.stop()
    header = ("", "notices", "rows left", "notices/s", "memory grew by MB")
    how = (
        f"{sizes.senders:,} users of another server, each with a device of its own, "
        f"send {sizes.times} notices each to one device, {EDUS_AT_ONCE} EDUs in a "
        "transaction. Memory: of Synapse's process."
    )
    target = Target(
        "many senders: rows left, of senders",
        "1",
        ratio(left["module"], sizes.senders),
        left["module"] == sizes.senders,
        binding=True,
    )
    return Table("One device, very many senders", header, lines, [how]), [target]


async def _flood(
    lane: Lane, remote: RemoteServer, people: People, sizes: Sizes
) -> float:
    """Send everything; return the seconds until all of it has arrived."""
    recipient = people.recipient
    started = time.monotonic()
    for turn in range(sizes.times):
        for begin in range(0, sizes.senders, EDUS_AT_ONCE):
            some = range(begin, min(begin + EDUS_AT_ONCE, sizes.senders))
            edus = [
                _edu(remote, number, turn, recipient.user_id, recipient.device_id)
                for number in some
            ]
            status, _ = await remote.send_edus(lane.homeserver, edus)
            assert status == 200
    expected = sizes.senders if lane.has_module else sizes.senders * sizes.times
    ends = time.monotonic() + ARRIVED_WITHIN_S
    while lane.rows_in_mailbox(recipient) < expected and time.monotonic() < ends:
        await pause(AFTERMATH_S)
    return time.monotonic() - started


def _edu(
    remote: RemoteServer, number: int, turn: int, user_id: str, device_id: str
) -> dict[str, Any]:
    sender = remote.user(f"sender{number}")
    content = make_notice(make_key(sender), f"DEVICE{number}")
    return {
        "sender": sender,
        "type": WITHHELD,
        "message_id": f"{number}-{turn}",
        "messages": {user_id: {device_id: content}},
    }


def _resident(lane: Lane) -> int:
    """Return the bytes of memory that a Synapse has."""
    lines = Path(f"/proc/{lane.homeserver.pid}/status").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def _line(name: str, touched: dict[str, Touched]) -> tuple[str, ...]:
    stock, module = touched["stock"], touched["module"]
    return (
        name,
        f"{module.decision_ms[0]:.1f}",
        f"{module.decision_ms[1]:.2f}",
        f"{stock.statements:.1f}",
        f"{module.statements:.1f}",
        f"{stock.later_ms:.1f}",
        f"{module.later_ms:.1f}",
    )


def _targets(
    sizes: Sizes, touched: dict[int, dict[str, Touched]], large: dict[str, Touched]
) -> list[Target]:
    module = [each["module"] for each in (*touched.values(), large)]
    deepest = touched[sizes.depths[-1]]["module"]
    growth = max(each.decision_ms[1] for each in module) / module[0].decision_ms[1]
    most = max(each.statements for each in module)
    return [
        Target(
            "depth: statements of a duplicate, most to fewest",
            "1",
            ratio(most, min(each.statements for each in module)),
            most <= FLAT * min(each.statements for each in module),
            binding=True,
        ),
        Target(
            "depth: decision about a duplicate, slowest to that of the smallest",
            f"≤ {FLAT}",
            f"{growth:.2f}",
            growth <= FLAT,
            binding=False,
        ),
        Target(
            f"first touch of {sizes.depths[-1]:,} rows, ms",
            f"≤ {FIRST_TOUCH_MS:.0f}",
            f"{deepest.decision_ms[0]:.1f}",
            deepest.decision_ms[0] <= FIRST_TOUCH_MS,
            binding=False,
        ),
    ]

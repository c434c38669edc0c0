"""A day of a server as large as matrix.org, simulated, with costs that are measured.

The simulation is of a thousandth of it: the module's own code decides about each
notice, on mailboxes in memory. What a notice costs that is stored, and one that
collapses, is measured on two Synapses.
"""

from __future__ import annotations

import random
import time
from typing import Any

import attrs

from synapse_withheld.config import Config
from synapse_withheld.database.sql import Page
from synapse_withheld.delivery.batch import Edus, LocalMessages, ObservedBatch
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.mailbox import MailboxKey, RowState
from synapse_withheld.wiring import wire
from tests.bench.alone.code import NoHomeserver, drive
from tests.bench.instruments.counting import AFTERMATH_S, wal
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.people import People
from tests.bench.instruments.processor import cpu_s
from tests.bench.report import Findings, Table
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD, make_key, make_notice
from tests.harness.databases.backlog import notice
from tests.harness.polling import pause

SCALE = 1000  # simulated is one in so many

# The assumptions. Those about matrix.org are guesses of its order of magnitude.
ACTIVE_DEVICES = 400_000  # that send anything on a day
MET = 6  # devices that each of them has no Olm session with, on average
DEAD = 0.85  # of these: how many do not sync on that day
REPEATS = 8  # notices of a pair on a day, on average: for rooms, sessions, restarts
SYNCS = 12  # how often one that is not dead acknowledges, at random times
REARMED = 0.03  # notices before which an Olm message passed

DAY_S = 86_400.0


@attrs.frozen
class Day:
    """What a day has, of the simulated part.

    Attributes:
        notices: How many are sent.
        stored: How many of these the module stores.
        superseded: How many rows it deletes as well.
        left: Rows in the mailboxes at the end: stock, and with the module.
    """

    notices: int
    stored: int
    superseded: int
    left: tuple[int, int]


@attrs.frozen
class Cost:
    """What one notice costs, stored or collapsed: WAL in bytes, CPU in seconds."""

    wal_bytes: float
    cpu_s: float


class Mailboxes(NoHomeserver):
    """A homeserver in memory, as far as the module asks it."""

    def __init__(self) -> None:
        self.rows: dict[MailboxKey, set[int]] = {}
        self.stream_id = 0
        self.deleted = 0

    def stream_token(self) -> int:
        """Return the newest stream ID."""
        return self.stream_id

    async def run_statement(self, *arguments: Any) -> Any:
        """Answer at once, by the name of the statement."""
        name, _, *_, about = arguments
        if "delete" in name:
            for row in about:
                self.rows[row.mailbox].discard(row.stream_id)
            self.deleted += len(about)
            return len(about)
        if "queued" in name:
            return {
                (key, stream_id): RowState(queued=stream_id in self.rows.get(key, ()))
                for key, stream_id in about
            }
        below = arguments[2]
        # All that is queued was seen being stored.
        return {key: Page([], 0, None) for key in below}

    async def _sleep(self, _: float) -> None:
        return None

    async def store(self, kept: LocalMessages) -> None:
        """Store a batch."""
        self.stream_id += 1
        for user_id, by_device in kept.items():
            for device_id in by_device:
                self.rows.setdefault((user_id, device_id), set()).add(self.stream_id)
        if isinstance(kept, ObservedBatch):
            kept.stream_id = self.stream_id


def simulate(seed: int = 1) -> Day:
    """Play a thousandth of a day."""
    chance = random.Random(seed)  # noqa: S311 variety, not secrecy
    events = sorted(_events(chance), key=lambda event: event[0])
    with_module, stock = Mailboxes(), dict[MailboxKey, int]()
    tally = Tally(time.monotonic)
    traffic = wire(Config(), with_module, Metrics("day"), tally)
    notices = 0
    for _, kind, sender, key in events:
        if kind == "sync":
            stock[key] = 0
            with_module.rows.pop(key, None)
            continue
        sender_key = make_key(sender)
        if kind == "olm":
            traffic.inbox.memory.rearm_device(key, sender, sender_key)
            continue
        notices += 1
        stock[key] = stock.get(key, 0) + 1
        content = make_notice(sender_key, "DEVICE")
        message = {"sender": sender, "type": WITHHELD, "content": content}
        batch = {key[0]: {key[1]: message}}
        drive(traffic.store(batch, {}, _writer(with_module)))
    left = sum(map(len, with_module.rows.values()))
    stored = with_module.stream_id
    return Day(notices, stored, with_module.deleted, (sum(stock.values()), left))


def _writer(homeserver: Mailboxes) -> Any:
    async def write(kept: LocalMessages, _: Edus) -> None:
        if kept:
            await homeserver.store(kept)

    return write


def _events(chance: random.Random) -> list[tuple[float, str, str, MailboxKey]]:
    """Return all that happens: when, what, who sends, to which mailbox."""
    events: list[tuple[float, str, str, MailboxKey]] = []
    for number in range(ACTIVE_DEVICES // SCALE):
        sender = f"@sender{number}:day.test"
        for met in range(_around(chance, MET)):
            key = (f"@recipient{number}-{met}:day.test", "DEVICE")
            for _ in range(_around(chance, REPEATS)):
                when = chance.uniform(0, DAY_S)
                events.append((when, "notice", sender, key))
                if chance.random() < REARMED:
                    events.append((when - 1, "olm", sender, key))
            if chance.random() >= DEAD:
                syncs = range(_around(chance, SYNCS))
                events += [(chance.uniform(0, DAY_S), "sync", "", key) for _ in syncs]
    return events


def _around(chance: random.Random, mean: float) -> int:
    """Return a number, many small and few large, with a mean."""
    return round(chance.expovariate(1 / mean))


async def measure(lanes: tuple[Lane, Lane], sizes: Sizes) -> Findings:
    """Measure what a notice costs, simulate a day, and multiply."""
    stored, collapsed = [await _cost(lane, sizes) for lane in lanes]
    day = simulate()
    size = len(notice())
    kept = day.notices - day.stored
    saved = [
        ("notices", f"{day.notices * SCALE:,}"),
        ("of these stored with the module", f"{day.stored * SCALE:,}"),
        ("rows not written", f"{kept * SCALE:,}"),
        ("superseded rows deleted", f"{day.superseded * SCALE:,}"),
        ("rows left at the end, stock", f"{day.left[0] * SCALE:,}"),
        ("rows left at the end, module", f"{day.left[1] * SCALE:,}"),
        ("bytes of JSON left fewer", _large((day.left[0] - day.left[1]) * size)),
        ("bytes of WAL fewer", _large(kept * (stored.wal_bytes - collapsed.wal_bytes))),
        ("CPU hours fewer", _hours(kept * (stored.cpu_s - collapsed.cpu_s))),
    ]
    costs = (
        f"Measured: a notice that stock stores takes {stored.wal_bytes:,.0f} bytes of "
        f"WAL and {1000 * stored.cpu_s:.2f} ms of CPU (Synapse's process and "
        f"PostgreSQL's), one that collapses {collapsed.wal_bytes:,.0f} bytes and "
        f"{1000 * collapsed.cpu_s:.2f} ms, on this machine."
    )
    assumed = (
        f"Assumed: {ACTIVE_DEVICES:,} devices send on that day; each has no Olm "
        f"session with {MET} devices on average, and tells each {REPEATS} times; "
        f"{DEAD:.0%} of these do not sync on that day, the others {SYNCS} times; "
        f"before {REARMED:.0%} of the notices an Olm message passed. One in {SCALE:,} "
        "is simulated."
    )
    title = "A day of a server of matrix.org's size"
    return Findings([Table(title, ("", "a day"), saved, [costs, assumed])])


async def _cost(lane: Lane, sizes: Sizes) -> Cost:
    people = await People.on(lane)
    notices = 10 * sizes.notices
    for _ in range(sizes.notices):
        await people.send(WITHHELD)
    await pause(AFTERMATH_S)
    wal_bytes, taken_s = wal(lane.homeserver), cpu_s(lane)
    for _ in range(notices):
        await people.send(WITHHELD)
    await pause(AFTERMATH_S)
    return Cost(
        (wal(lane.homeserver) - wal_bytes) / notices,
        (cpu_s(lane) - taken_s) / notices,
    )


def _large(bytes_of_part: float) -> str:
    return f"{bytes_of_part * SCALE / 1e9:.1f} GB"


def _hours(seconds_of_part: float) -> str:
    return f"{seconds_of_part * SCALE / 3600:.1f}"

"""A day of a server as large as matrix.org, simulated, with costs that are measured.

The simulation is of a thousandth of it: the module's own code decides about each
notice, on mailboxes in memory. What a notice costs that is stored, and one that
collapses, is measured on two Synapses.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Callable

import attrs

from synapse_withheld.config import Config
from synapse_withheld.rules.mailbox import MailboxKey
from tests.bench.alone.inbox import Inbox, module_before, notice_for
from tests.bench.instruments.lanes import Lane, two_lanes
from tests.bench.instruments.people import People
from tests.bench.instruments.taken import Taken
from tests.bench.report import Findings, Table
from tests.bench.sizes import Sizes
from tests.harness.backlog import notice
from tests.harness.messages import WITHHELD, make_key

SCALE = 1000  # simulated is one in so many

# The assumptions. Those about matrix.org are guesses of its order of magnitude.
ACTIVE_DEVICES = 400_000  # that send anything on a day
MET = 6  # devices that each of them has no Olm session with, on average
DEAD = 0.85  # of these: how many do not sync on that day
REPEATS = 8  # notices of a pair on a day, on average: for rooms, sessions, restarts
SYNCS = 12  # how often one that is not dead acknowledges, at random times
REARMED = 0.03  # notices before which an Olm message passed

DAY_S = 86_400.0

_COSTS = (
    "Measured: a notice that stock stores takes {:,.0f} bytes of WAL and {:.2f} ms of "
    "CPU (Synapse's process and PostgreSQL's), one that collapses {:,.0f} bytes and "
    "{:.2f} ms, on this machine."
)


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


def simulate(seed: int = 1) -> Day:
    """Play a thousandth of a day."""
    chance = random.Random(seed)  # noqa: S311 variety, not secrecy
    events = sorted(_events(chance), key=lambda event: event[0])
    inbox, stock = Inbox(), dict[MailboxKey, int]()
    through = module_before(inbox, Config(), "day")
    notices = read = 0
    for _, kind, sender, key in events:
        if kind == "sync":
            stock[key] = 0
            read += inbox.acknowledge(key)
        elif kind == "olm":
            through.inbox.memory.rearm_device(key, sender, make_key(sender))
        else:
            notices += 1
            stock[key] = stock.get(key, 0) + 1
            inbox.add_device(key)
            inbox.send(notice_for(key, sender), through)
    left = inbox.count()
    superseded = inbox.stored - read - left
    return Day(notices, inbox.stored, superseded, (sum(stock.values()), left))


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


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Measure what a notice costs, simulate a day, and multiply."""
    say("Measuring the cost of a notice.")
    async with two_lanes(directory) as lanes:
        stored, collapsed = [await _cost(lane, 5 * sizes.requests) for lane in lanes]
    say("Simulating a day.")
    day = simulate()
    kept = day.notices - day.stored
    fewer_bytes = (day.left[0] - day.left[1]) * len(notice())
    fewer_wal = kept * (stored.wal_bytes - collapsed.wal_bytes)
    fewer_cpu_s = kept * (stored.cpu_s - collapsed.cpu_s)
    rows = [
        ("notices", f"{day.notices * SCALE:,}"),
        ("of these stored with the module", f"{day.stored * SCALE:,}"),
        ("rows not written", f"{kept * SCALE:,}"),
        ("superseded rows deleted", f"{day.superseded * SCALE:,}"),
        ("rows left at the end, stock", f"{day.left[0] * SCALE:,}"),
        ("rows left at the end, module", f"{day.left[1] * SCALE:,}"),
        ("bytes of JSON left fewer", f"{fewer_bytes * SCALE / 1e9:.1f} GB"),
        ("bytes of WAL fewer", f"{fewer_wal * SCALE / 1e9:.1f} GB"),
        ("CPU hours fewer", f"{fewer_cpu_s * SCALE / 3600:.1f}"),
    ]
    told = [
        x for each in (stored, collapsed) for x in (each.wal_bytes, 1000 * each.cpu_s)
    ]
    title = "A day of a server of matrix.org's size"
    notes = [_COSTS.format(*told), f"One in {SCALE:,} is simulated."]
    return Findings([Table(title, ("", "a day"), rows, notes)])


async def _cost(lane: Lane, notices: int) -> Taken:
    people = await People.on(lane)
    for _ in range(notices // 10):
        await people.send(WITHHELD)
    before = await Taken.by(lane)
    for _ in range(notices):
        await people.send(WITHHELD)
    return (await Taken.by(lane)).each(before, notices)

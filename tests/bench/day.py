"""A day of a server as large as matrix.org, simulated, with costs that are measured.

The simulation is of a thousandth of it: the module's own code decides about each
notice, on mailboxes in memory. What a notice costs that is stored, and one that
collapses, is measured on two Synapses.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Iterator

from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.explaining.mailboxes import Mailboxes
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.wiring import wire
from tests.bench.lanes import each_duplicate, lanes
from tests.demo.output import show
from tests.harness.backlog import notice
from tests.harness.messages import make_key, make_message, make_notice
from tests.harness.servers.stage import two_on

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
    "{:.2f} ms, on this machine. One in {:,} is simulated."
)


class Inbox(Mailboxes):
    """Mailboxes in memory, and the module's own code before them."""

    sees_reads = False  # as with workers

    def __init__(self) -> None:
        super().__init__()
        tally = Tally(self.runtime().seconds)
        self.traffic = wire(Config(), self, Metrics("bench"), tally)

    def send(self, batch: LocalMessages) -> None:
        """Store a batch through the module, and come to rest."""

        async def write(kept: LocalMessages, _: Edus) -> None:
            # Of nothing Synapse's code for writing is not entered.
            if kept:
                await self.store(kept)

        ensureDeferred(self.traffic.store(batch, {}, write))
        self.come_to_rest()


def notice_for(mailbox: MailboxKey, sender: str) -> LocalMessages:
    user_id, device_id = mailbox
    content = make_notice(make_key(sender), "DEVICE")
    return {user_id: {device_id: make_message(sender, content)}}


async def measure(directory: Path, quick: bool) -> None:
    notices = 25 if quick else 250
    async with lanes(directory) as both:
        stored, collapsed = [
            await each_duplicate(lane, await two_on(lane.homeserver), notices)
            for lane in both
        ]
    day = {name: count * SCALE for name, count in simulate().items()}
    kept = day["rows not written"]
    fewer = day["rows left at the end, stock"] - day["rows left at the end, module"]
    fewer_wal = kept * (stored.wal_bytes - collapsed.wal_bytes)
    fewer_cpu_s = kept * (stored.cpu_s - collapsed.cpu_s)
    told = {
        **day,
        "bytes of JSON left fewer": f"{fewer * len(notice()) / 1e9:.1f} GB",
        "bytes of WAL fewer": f"{fewer_wal / 1e9:.1f} GB",
        "CPU hours fewer": f"{fewer_cpu_s / 3600:.1f}",
    }
    rows = [{"": name, "a day": value} for name, value in told.items()]
    costs = [(each.wal_bytes, 1000 * each.cpu_s) for each in (stored, collapsed)]
    title = "A day of a server of matrix.org's size"
    show(title, rows, _COSTS.format(*costs[0], *costs[1], SCALE))


def simulate() -> dict[str, int]:
    """Play a thousandth of a day; return what happened how often."""
    chance = random.Random(1)  # noqa: S311 variety, not secrecy
    inbox, stock = Inbox(), Counter[MailboxKey]()
    notices = read = 0
    for _, kind, sender, key in sorted(_events(chance)):
        if kind == "sync":
            stock[key] = 0
            read += inbox.acknowledge(key)
        elif kind == "olm":
            inbox.traffic.inbox.memory.rearm_device(key, sender, make_key(sender))
        else:
            notices += 1
            stock[key] += 1
            inbox.add_device(key)
            inbox.send(notice_for(key, sender))
    stored = inbox.stream_token()  # it counts them
    return {
        "notices": notices,
        "of these stored with the module": stored,
        "rows not written": notices - stored,
        "superseded rows deleted": stored - read - inbox.count(),
        "rows left at the end, stock": sum(stock.values()),
        "rows left at the end, module": inbox.count(),
    }


def _events(chance: random.Random) -> Iterator[tuple[float, str, str, MailboxKey]]:
    """Say when, what, who sends, and to which mailbox, in no order."""
    for number in range(ACTIVE_DEVICES // SCALE):
        sender = f"@sender{number}:day.test"
        for met in range(_around(chance, MET)):
            key = (f"@recipient{number}-{met}:day.test", "DEVICE")
            for _ in range(_around(chance, REPEATS)):
                when = chance.uniform(0, DAY_S)
                yield when, "notice", sender, key
                if chance.random() < REARMED:
                    yield when - 1, "olm", sender, key
            if chance.random() >= DEAD:
                for _ in range(_around(chance, SYNCS)):
                    yield chance.uniform(0, DAY_S), "sync", "", key


def _around(chance: random.Random, mean: float) -> int:
    """Return a number, many small and few large, with a mean."""
    return round(chance.expovariate(1 / mean))

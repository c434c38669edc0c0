"""How fast the sweep is, what memory it takes, and whether clients notice it.

On a database of a stock Synapse: the command works beside one without the module too.
Clients are asked beside one with it as well.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Callable, Iterable

from twisted.internet.threads import deferToThread

from synapse_withheld.cli.walking.database import Connection, connect
from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import INBOX, Queue
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.sweep.walk import BATCH_SIZE, Options, Sweep
from tests.bench.instruments.commands import MAILBOX, begin, fill, flat, weighed
from tests.bench.instruments.synapses import MODULE, STOCK, Lane, one_lane
from tests.bench.report import Findings, Table, Target, ratio, say
from tests.bench.sizes import QUICK, Sizes
from tests.harness.backlog import notice, other
from tests.harness.client import Client
from tests.harness.waiting import become

SHARES = (0, 10, 90)  # percent of the rows that are notices
ROUNDS, SYNCS = 3, 200
# At least so much of the rate of plain SQL; how much longer a sync may take.
ENOUGH, MOST = 0.5, 1.2
# How long the command may take to begin.
BEGINS_S = 30.0

_READ = """
    SELECT user_id, device_id, stream_id, message_json FROM device_inbox
    WHERE (user_id, device_id, stream_id) < (?, ?, ?)
    ORDER BY user_id DESC, device_id DESC, stream_id DESC LIMIT ?
"""
_RATES_HEADER = (
    *("notices", "sweep", "sweep : read"),
    *("sweep : read and delete", "dry run : read"),
)
_RATES = (
    f"{{:,}} rows in mailboxes of {MAILBOX:,}; rows a second, {BATCH_SIZE:,} at once, "
    f"no pauses, best of {ROUNDS}. Read: the same rows and columns in the same order "
    "over the same connection. Delete: the same rows, by key alone and as many at "
    "once. Of ten devices one notice each stays in a mailbox."
)
_BESIDE = (
    f"{SYNCS} incremental syncs one after the other, of a client on the same Synapse, "
    "while the command runs on the same machine. What differs between the two without "
    "a sweep is noise."
)


async def measure(directory: Path, sizes: Sizes) -> Findings:
    async with one_lane(STOCK, None, directory) as stock:
        say("Sweeping for its rate.")
        found = await deferToThread(_rates, stock, sizes.backlog[-2])
        say(f"Sweeping up to {sizes.backlog[-1]:,} rows for its memory.")
        found += await deferToThread(_memory, stock, sizes)
        say("Sweeping beside a client.")
        found += await _syncs_beside(stock, sizes)
    async with one_lane(MODULE, {}, directory) as module:
        say("Sweeping beside a client of a Synapse with the module.")
        return [*found, *await _syncs_beside(module, sizes)]


def _texts(share: int) -> list[str]:
    """Return a hundred texts, `share` of them notices of ten devices."""
    return [notice(device="DEVDIGIT")] * share + [other()] * (100 - share)


class Recorder(Database):
    """Notes what is to be deleted, and says that it was."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.run, connection.driver)
        self.batches: list[list[Any]] = []

    async def delete(
        self, superseded: Iterable[Superseded], queue: Queue = INBOX
    ) -> int:
        del queue  # the sweep is about one only
        self.batches.append([(*row.mailbox, row.stream_id) for row in superseded])
        return len(self.batches[-1])


def _rates(lane: Lane, rows: int) -> Findings:
    """Sweep, beside what the same connection can do at most."""
    lines, works = [], []
    for share in SHARES:
        connection = connect({"database": lane.database}, writes=True)
        try:
            read, dry_run, delete, sweep = _times(lane, connection, rows, share)
        finally:
            connection.close()
        works.append((read + delete) / sweep)
        ratios = (read / sweep, works[-1], read / dry_run)
        cells = (f"{rows / sweep:,.0f}", *(f"{each:.2f}" for each in ratios))
        lines.append((f"{share}%", *cells))
    # None of the others: where rows go the database takes most of the time, and its own
    # rests are longer than all of a dry run.
    return [
        Table("Rate of the sweep", _RATES_HEADER, lines, _RATES.format(rows)),
        Target.least("sweep: of reading and deleting", min(works), ENOUGH),
    ]


def _times(
    lane: Lane, connection: Connection, rows: int, share: int
) -> tuple[float, ...]:
    """Return how long it takes to read, to sweep dry, to delete and to sweep."""
    fill(lane, rows, _texts(share))
    recorder = Recorder(connection)
    _sweep(recorder)
    database = Database(connection.run, connection.driver)
    rounds = []
    # In turns, so that what else the machine does meets all of them.
    for _ in range(ROUNDS):
        read = _seconds(lambda: _read(connection))
        dry_run = _seconds(lambda: _sweep(database, dry_run=True))
        delete = _seconds(lambda: _delete(connection, recorder.batches))
        fill(lane, rows, _texts(share))
        sweep = _seconds(lambda: _sweep(database))
        fill(lane, rows, _texts(share))
        rounds.append((read, dry_run, delete, sweep))
    return tuple(map(min, zip(*rounds)))


def _delete(connection: Connection, batches: list[list[Any]]) -> None:
    for batch in batches:
        keys = ", ".join(["(?, ?, ?)"] * len(batch))
        connection.execute(
            "DELETE FROM device_inbox "  # noqa: S608 only question marks are put in
            f"WHERE (user_id, device_id, stream_id) IN (VALUES {keys})",
            [part for key in batch for part in key],
        )


def _read(connection: Connection) -> None:
    """Read everything, and look at each text."""
    place: Any = ("\U0010ffff", "", 0)
    rows: list[Any] = [place] * BATCH_SIZE
    while len(rows) == BATCH_SIZE:
        connection.execute(_READ, (*place, BATCH_SIZE))
        rows = connection.fetchall()
        assert all(len(text) for *_, text in rows)
        place = rows[-1][:3] if rows else place


def _sweep(database: Database, *, dry_run: bool = False) -> None:
    sweep = Sweep(database, Options(dry_run=dry_run))
    while not sweep.progress.done:
        driven(sweep.step())


def _seconds(function: Callable[[], None]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _memory(lane: Lane, sizes: Sizes) -> Findings:
    lines, peaks = [], []
    for rows in sizes.backlog:
        fill(lane, rows, _texts(50))
        told, held = weighed(lane, "sweep", "--enforce")
        assert told["rows"] == rows
        assert told["deleted"] == told["redundant"] > 0
        peaks.append(held)
        lines.append((f"{rows:,}", f"{told['deleted']:,}", f"{held / 1e6:.1f}"))
    note = "`synapse-withheld sweep --pause 0`: the most it ever held."
    table = Table("Memory of the sweep", ("rows", "deleted", "MB"), lines, note)
    return [table, flat("sweep", peaks)]


async def _syncs_beside(lane: Lane, sizes: Sizes) -> Findings:
    """Sync without a sweep, beside two, and without again."""
    client = await lane.homeserver.register("reader")
    token = (await client.sync())["next_batch"]
    # What happens only the first time is none of the matter.
    await _syncs(client, token)
    times = {
        "none": await _syncs(client, token),
        "default pauses": await _beside(lane, sizes, client, token),
        "no pauses": await _beside(lane, sizes, client, token, "--pause", "0"),
        "none, again": await _syncs(client, token),
    }
    # The median, and what 95 of 100 stay below.
    told = {name: (median(ms), quantiles(ms, n=20)[-1]) for name, ms in times.items()}
    lines = [
        (name, *(f"{each:.1f}" for each in took), *map(ratio, took, told["none"]))
        for name, took in told.items()
    ]
    header = ("sweep", "median ms", "95% ms", "median, ratio", "95%, ratio")
    name = f"sync beside a sweep with its pauses, {lane.name}, median"
    slower = told["default pauses"][0] / told["none"][0]
    return [
        Table(f"Syncs beside a sweep, {lane.name}", header, lines, _BESIDE),
        Target.most(name, slower, MOST),
    ]


async def _beside(
    lane: Lane, sizes: Sizes, client: Client, token: str, *more: str
) -> list[float]:
    """Sync while the command sweeps, from its first batch on."""
    fill(lane, sizes.backlog[-2], _texts(90))
    noted = lane.directory / "place.json"
    process = begin(lane, "sweep", "--enforce", "--place", str(noted), *more)
    try:
        # A small table may be swept between two looks.
        await become(lambda: noted.exists() or process.poll() is not None, BEGINS_S)
        times = await _syncs(client, token)
        assert process.poll() in ((None, 0) if sizes == QUICK else (None,))
    finally:
        process.kill()
        process.communicate()
        noted.unlink(missing_ok=True)
    return times


async def _syncs(client: Client, token: str) -> list[float]:
    times = []
    for _ in range(SYNCS):
        started = time.perf_counter()
        await client.sync(token)
        times.append(1000 * (time.perf_counter() - started))
    return times

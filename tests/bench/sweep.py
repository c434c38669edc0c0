"""How fast the sweep is, what memory it takes, and whether clients notice it.

On a database of a stock Synapse: the command works beside one without the module too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Callable, Iterator, Sequence

import attrs
from twisted.internet.threads import deferToThread

from synapse_withheld.backlog import Backlog
from synapse_withheld.cli.database import Connection, connect
from synapse_withheld.demo.homeserver import Homeserver
from synapse_withheld.demo.matrix import Client
from synapse_withheld.demo.postgres import PostgresServer
from synapse_withheld.sweeping import Options, Sweep
from synapse_withheld.watch import Superseded
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.backlog import driven, notice, other

# As many as the command reads at once by default.
BATCH = 1000
MAILBOX = 1000  # rows
SHARES = (0, 10, 90)  # percent of the rows that are notices
SYNCS = 200

# At least this much of the rate of merely reading; at most as much more memory for
# any number of rows.
ENOUGH, FLAT = 0.5, 1.2

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT '@' || LPAD(CAST(n / ? AS TEXT), 6, '0') || ':hs', 'DEVICE', n,
        CASE WHEN MOD(n, 100) < ?
            THEN REPLACE(?, 'DEV0', 'DEV' || MOD(n, 10)) ELSE ? END
    FROM generate_series(1, ?) AS n
"""
_READ = """
    SELECT user_id, device_id, stream_id, message_json FROM device_inbox
    WHERE (user_id, device_id, stream_id) < (?, ?, ?)
    ORDER BY user_id DESC, device_id DESC, stream_id DESC LIMIT ?
"""


@attrs.frozen
class Place:
    """A Synapse, and its database."""

    homeserver: Homeserver
    database: dict[str, Any]
    directory: Path

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Connect as the command does."""
        connection = connect({"database": self.database})
        try:
            yield connection
        finally:
            connection.close()

    def fill(self, rows: int, share: int) -> None:
        """Have so many rows in mailboxes, and nothing else."""
        self.homeserver.query("TRUNCATE device_inbox")
        texts = (notice(device="DEV0"), other())
        self.homeserver.query(_FILL, (MAILBOX, share, *texts, rows))
        self.homeserver.query("ANALYZE device_inbox")

    def command(self, *more: str) -> subprocess.Popen[bytes]:
        """Begin to sweep by hand."""
        config = str(self.directory / "homeserver.yaml")
        arguments = ["sweep", "-c", config, "--json", *more]
        return subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "synapse_withheld.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Measure everything on a new database."""
    directory.mkdir()
    postgres = PostgresServer(directory / "postgres")
    database = postgres.database()
    homeserver = Homeserver(directory / "synapse", database=database)
    try:
        await homeserver.start()
        place = Place(homeserver, database, directory / "synapse")
        say("Sweeping for its rate.")
        found = [await deferToThread(_rates, place, sizes)]
        say("Sweeping beside a client.")
        found.append(await _latency(place, sizes))
        say(f"Sweeping up to {sizes.backlog[-1]:,} rows for its memory.")
        found.append(await deferToThread(_memory, place, sizes))
    finally:
        await homeserver.stop()
        postgres.stop()
    return Findings(
        [table for each in found for table in each.tables],
        [target for each in found for target in each.targets],
    )


def _rates(place: Place, sizes: Sizes) -> Findings:
    rows = sizes.backlog[-2]
    lines, walks = [], []
    for share in SHARES:
        with place.connected() as connection:
            seconds = _time(place, connection, rows, share)
        walks.append(seconds.read / seconds.dry_run)
        work = (seconds.read + seconds.delete) / seconds.sweep
        rates = (f"{rows / each:,.0f}" for each in attrs.astuple(seconds))
        lines.append((f"{share}%", *rates, f"{walks[-1]:.2f}", f"{work:.2f}"))
    header = (
        "notices",
        "read",
        "dry run",
        "delete",
        "sweep",
        "dry run : read",
        "sweep : read and delete",
    )
    how = (
        f"{rows:,} rows in mailboxes of {MAILBOX:,}; rows a second, {BATCH:,} at once, "
        "no pauses. Read: the same rows and columns in the same order over the same "
        "connection. Delete: the same rows, by key alone. Of ten devices one notice "
        "each stays in a mailbox."
    )
    return Findings(
        [Table("Rate of the sweep", header, lines, [how])],
        [
            # What is deleted costs the database what it costs: no target.
            _rate("sweep, dry run: of the rate of reading", walks),
        ],
    )


def _rate(name: str, ratios: list[float]) -> Target:
    worst = min(ratios)
    return Target(
        f"{name}, worst", f"≥ {ENOUGH}", f"{worst:.2f}", worst >= ENOUGH, binding=False
    )


@attrs.frozen
class Seconds:
    """How long everything took."""

    read: float
    dry_run: float
    delete: float
    sweep: float


class Recorder(Backlog):
    """Notes what is to be deleted, and says that it was."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.run, connection.driver)
        self.batches: list[list[Any]] = []

    async def delete(self, superseded: Sequence[Superseded]) -> int:
        """Note it."""
        self.batches.append([(*row.mailbox, row.stream_id) for row in superseded])
        return len(superseded)


def _time(place: Place, connection: Connection, rows: int, share: int) -> Seconds:
    place.fill(rows, share)
    read = min(_seconds(lambda: _scan(connection)) for _ in range(3))
    dry_run = min(_seconds(lambda: _sweep(connection, True)) for _ in range(3))
    recorder = Recorder(connection)
    _walk(Sweep(recorder, Options(batch_size=BATCH)))
    delete = _seconds(lambda: _delete(connection, recorder.batches))
    place.fill(rows, share)
    return Seconds(read, dry_run, delete, _seconds(lambda: _sweep(connection, False)))


def _delete(connection: Connection, batches: list[list[Any]]) -> None:
    for batch in batches:
        keys = ", ".join(["(?, ?, ?)"] * len(batch))
        connection.execute(
            "DELETE FROM device_inbox "  # noqa: S608 only question marks are put in
            f"WHERE (user_id, device_id, stream_id) IN (VALUES {keys})",
            [part for key in batch for part in key],
        )


def _scan(connection: Connection) -> None:
    """Read everything, and look at each text."""
    place: Any = ("\U0010ffff", "", 0)
    letters = 0
    while True:
        connection.execute(_READ, (*place, BATCH))
        rows = connection.fetchall()
        letters += sum(len(text) for *_, text in rows)
        if len(rows) < BATCH:
            break
        place = rows[-1][:3]
    assert letters


def _sweep(connection: Connection, dry_run: bool) -> None:
    backlog = Backlog(connection.run, connection.driver)
    _walk(Sweep(backlog, Options(batch_size=BATCH, dry_run=dry_run)))


def _walk(sweep: Sweep) -> None:
    while not sweep.progress.done:
        driven(sweep.step())


def _seconds(function: Callable[[], None]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _memory(place: Place, sizes: Sizes) -> Findings:
    lines, peaks = [], []
    for rows in sizes.backlog:
        place.fill(rows, 50)
        process = place.command("--dry-run", "--pause", "0")
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
        # `ru_maxrss` is in kilobytes on Linux.
        _, _, usage = os.wait4(process.pid, 0)
        assert told["rows"] == rows
        peaks.append(usage.ru_maxrss * 1024)
        covered = f"{told['covered']:,}"
        lines.append((f"{rows:,}", covered, f"{peaks[-1] / 1e6:.1f}"))
    growth = max(peaks) / peaks[0]
    header = ("rows", "that would go", "MB")
    notes = ["`synapse-withheld sweep --dry-run --pause 0`: the most it ever held."]
    return Findings(
        [Table("Memory of the sweep", header, lines, notes)],
        [
            Target(
                "sweep: memory, most rows to fewest",
                f"≤ {FLAT}",
                f"{growth:.2f}",
                growth <= FLAT,
                binding=True,
            )
        ],
    )


async def _latency(place: Place, sizes: Sizes) -> Findings:
    client = await place.homeserver.register("reader")
    token = (await client.sync())["next_batch"]
    place.fill(sizes.backlog[-2], 90)
    await _syncs(client, token)
    alone = await _syncs(client, token)
    lines = [_line("no sweep", alone, alone)]
    worst = 0.0
    for name, more in (("default pauses", ()), ("no pauses", ("--pause", "0"))):
        process = place.command(*more)
        during = await _syncs(client, token)
        assert process.poll() is None or sizes.quick
        process.kill()
        process.communicate()
        place.fill(sizes.backlog[-2], 90)
        lines.append(_line(name, during, alone))
        if not more:
            worst = median(during) / median(alone)
    lines.append(_line("no sweep, again", await _syncs(client, token), alone))
    header = ("sweep", "median ms", "95% ms", "median, ratio", "95%, ratio")
    how = (
        f"{SYNCS} incremental syncs one after the other, of a client on the same "
        "Synapse, while the command runs on the same machine."
    )
    return Findings(
        [Table("Syncs beside a sweep", header, lines, [how])],
        [
            Target(
                "sync beside a sweep with its pauses, median",
                f"≤ {FLAT}",
                f"{worst:.2f}",
                worst <= FLAT,
                binding=False,
            )
        ],
    )


async def _syncs(client: Client, token: str) -> list[float]:
    """Return how long each of some syncs takes, in seconds."""
    times = []
    for _ in range(SYNCS):
        started = time.perf_counter()
        await client.sync(token)
        times.append(time.perf_counter() - started)
    return times


def _line(name: str, times: list[float], alone: list[float]) -> tuple[str, ...]:
    middle, most = median(times), _most(times)
    return (
        name,
        f"{1000 * middle:.1f}",
        f"{1000 * most:.1f}",
        ratio(middle, median(alone)),
        ratio(most, _most(alone)),
    )


def _most(times: list[float]) -> float:
    """Return what 95 of 100 stay below."""
    return quantiles(times, n=20)[-1]

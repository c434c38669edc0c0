"""How fast the sweep is, beside what the same connection can do at most."""

from __future__ import annotations

import time
from typing import Any, Callable, Iterable

import attrs

from synapse_withheld.cli.shared.walking.database import Connection
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import INBOX, Queue
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.sweep.walk import Options, Sweep
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.bench.sweep.place import MAILBOX, Place
from tests.harness.databases.backlog import driven

# As many as the command reads at once by default.
BATCH = 1000
SHARES = (0, 10, 90)  # percent of the rows that are notices
ENOUGH = 0.5
ROUNDS = 3

_READ = """
    SELECT user_id, device_id, stream_id, message_json FROM device_inbox
    WHERE (user_id, device_id, stream_id) < (?, ?, ?)
    ORDER BY user_id DESC, device_id DESC, stream_id DESC LIMIT ?
"""
_HOW = (
    f"in mailboxes of {MAILBOX:,}; rows a second, {BATCH:,} at once, no pauses, best "
    f"of {ROUNDS}. Read: the same rows and columns in the same order over the same "
    "connection. Delete: the same rows, by key alone and as many at once. Of ten "
    "devices one notice each stays in a mailbox."
)
_HEADER = (
    "notices",
    "read",
    "dry run",
    "delete",
    "sweep",
    "dry run : read",
    "sweep : read and delete",
    "sweep : read",
)


@attrs.frozen
class Seconds:
    """How long everything took."""

    read: float
    dry_run: float
    delete: float
    sweep: float

    @property
    def walk(self) -> float:
        """Return the rate of a dry run, of that of reading."""
        return self.read / self.dry_run

    @property
    def work(self) -> float:
        """Return the rate of a sweep, of that of reading and then deleting."""
        return (self.read + self.delete) / self.sweep

    def line(self, share: int, rows: int) -> tuple[str, ...]:
        """Return a line of the table."""
        # Where nothing was deleted there is no rate of it.
        delete = f"{rows / self.delete:,.0f}" if share else "–"  # noqa: RUF001 a dash
        read, dry_run, sweep = (
            f"{rows / each:,.0f}" for each in (self.read, self.dry_run, self.sweep)
        )
        ratios = (self.walk, self.work, self.read / self.sweep)
        rates = (read, dry_run, delete, sweep)
        return (f"{share}%", *rates, *(f"{each:.2f}" for each in ratios))


def measure(place: Place, sizes: Sizes) -> Findings:
    """Sweep tables with few and many notices."""
    rows = sizes.backlog[-2]
    found = {}
    for share in SHARES:
        with place.connected() as connection:
            found[share] = _time(place, connection, rows, share)
    lines = [each.line(share, rows) for share, each in found.items()]
    walk, work = (
        min(each) for each in zip(*((one.walk, one.work) for one in found.values()))
    )
    # None of the last column: what is deleted costs the database what it costs.
    return Findings(
        [Table("Rate of the sweep", _HEADER, lines, [f"{rows:,} rows {_HOW}"])],
        [
            _target("sweep, dry run: of the rate of reading", walk),
            _target("sweep: of the rate of reading and deleting", work),
        ],
    )


def _target(name: str, worst: float) -> Target:
    return Target(
        f"{name}, worst", f"≥ {ENOUGH}", f"{worst:.2f}", worst >= ENOUGH, binding=False
    )


class Recorder(Database):
    """Notes what is to be deleted, and says that it was."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.run, connection.driver)
        self.batches: list[list[Any]] = []

    async def delete(
        self, superseded: Iterable[Superseded], queue: Queue = INBOX
    ) -> int:
        """Note it."""
        del queue  # the sweep is about one only
        rows = [(*row.mailbox, row.stream_id) for row in superseded]
        self.batches.append(rows)
        return len(rows)


def _time(place: Place, connection: Connection, rows: int, share: int) -> Seconds:
    place.fill(rows, share)
    recorder = Recorder(connection)
    _walk(Sweep(recorder, Options(batch_size=BATCH)))
    read, dry_run, delete, sweep = [], [], [], []
    # In turns, so that what else the machine does meets all of them.
    for _ in range(ROUNDS):
        read.append(_seconds(lambda: _scan(connection)))
        dry_run.append(_seconds(lambda: _sweep(connection, dry_run=True)))
        delete.append(_seconds(lambda: _delete(connection, recorder.batches)))
        place.fill(rows, share)
        sweep.append(_seconds(lambda: _sweep(connection, dry_run=False)))
        place.fill(rows, share)
    return Seconds(min(read), min(dry_run), min(delete), min(sweep))


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


def _sweep(connection: Connection, *, dry_run: bool) -> None:
    backlog = Database(connection.run, connection.driver)
    _walk(Sweep(backlog, Options(batch_size=BATCH, dry_run=dry_run)))


def _walk(sweep: Sweep) -> None:
    while not sweep.progress.done:
        driven(sweep.step())


def _seconds(function: Callable[[], None]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started

"""How fast the sweep is, beside what the same connection can do at most."""

from __future__ import annotations

import time
from typing import Any, Callable, Iterable

from synapse_withheld.cli.shared.walking.database import Connection, connect
from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import INBOX, Queue
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.sweep.walk import BATCH_SIZE, Options, Sweep
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.bench.sweep.place import MAILBOX, Place

SHARES = (0, 10, 90)  # percent of the rows that are notices
ENOUGH = 0.5
ROUNDS = 3

_READ = """
    SELECT user_id, device_id, stream_id, message_json FROM device_inbox
    WHERE (user_id, device_id, stream_id) < (?, ?, ?)
    ORDER BY user_id DESC, device_id DESC, stream_id DESC LIMIT ?
"""
_HOW = (
    f"in mailboxes of {MAILBOX:,}; rows a second, {BATCH_SIZE:,} at once, no pauses, "
    f"best of {ROUNDS}. Read: the same rows and columns in the same order over the "
    "same connection. Delete: the same rows, by key alone and as many at once. Of ten "
    "devices one notice each stays in a mailbox."
)
_HEADER = (
    "notices",
    "sweep",
    "sweep : read",
    "sweep : read and delete",
    "dry run : read",
)


class Recorder(Database):
    """Notes what is to be deleted, and says that it was."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.run, connection.driver)
        self.batches: list[list[Any]] = []

    async def delete(
        self, superseded: Iterable[Superseded], queue: Queue = INBOX
    ) -> int:
        del queue  # the sweep is about one only
        rows = [(*row.mailbox, row.stream_id) for row in superseded]
        self.batches.append(rows)
        return len(rows)


def measure(place: Place, sizes: Sizes) -> Findings:
    rows = sizes.backlog[-2]
    lines, walks, works = [], [], []
    for share in SHARES:
        connection = connect({"database": place.database}, writes=True)
        try:
            read, dry_run, delete, sweep = _times(place, connection, rows, share)
        finally:
            connection.close()
        walks.append(read / dry_run)
        works.append((read + delete) / sweep)
        ratios = (read / sweep, works[-1], walks[-1])
        cells = (f"{rows / sweep:,.0f}", *(f"{each:.2f}" for each in ratios))
        lines.append((f"{share}%", *cells))
    # None of the second column: what is deleted costs the database what it costs.
    return Findings(
        [Table("Rate of the sweep", _HEADER, lines, [f"{rows:,} rows {_HOW}"])],
        [
            Target.least("sweep, dry run: of the rate of reading", min(walks), ENOUGH),
            Target.least("sweep: of reading and deleting", min(works), ENOUGH),
        ],
    )


def _times(
    place: Place, connection: Connection, rows: int, share: int
) -> tuple[float, ...]:
    """Return how long it takes to read, to sweep dry, to delete and to sweep."""
    place.fill(rows, share)
    recorder = Recorder(connection)
    _sweep(recorder)
    database = Database(connection.run, connection.driver)
    rounds = []
    # In turns, so that what else the machine does meets all of them.
    for _ in range(ROUNDS):
        read = _seconds(lambda: _read(connection))
        dry_run = _seconds(lambda: _sweep(database, dry_run=True))
        delete = _seconds(lambda: _delete(connection, recorder.batches))
        place.fill(rows, share)
        sweep = _seconds(lambda: _sweep(database))
        place.fill(rows, share)
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

"""How fast the sweep is, what memory it takes, and whether clients notice it."""

from __future__ import annotations

import re
import sys
import time
from contextlib import closing
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Callable

from twisted.internet.threads import deferToThread

from synapse_withheld.cli.walking.database import Connection, connect
from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.database.database import Database
from synapse_withheld.sweep.walk import BATCH_SIZE, Options, Sweep
from tests.bench.lanes import Lane, lanes
from tests.demo.output import show
from tests.harness.backlog import notice, other
from tests.harness.client import Client
from tests.harness.process import Process
from tests.harness.waiting import eventually, pause

SHARES = (0, 10, 90)  # percent of the rows that are notices
ROUNDS, SYNCS = 3, 200

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT '@' || LPAD(CAST(n / 1000 AS TEXT), 6, '0') || ':hs', 'DEVICE', n,
        REPLACE((?)[MOD(n, 100) + 1], 'DIGIT', CAST(MOD(n, 10) AS TEXT))
    FROM generate_series(1, ?) AS n
"""
_READ = """
    SELECT user_id, device_id, stream_id, message_json FROM device_inbox
    WHERE (user_id, device_id, stream_id) < (?, ?, ?)
    ORDER BY user_id DESC, device_id DESC, stream_id DESC LIMIT ?
"""
_KEYS = "SELECT user_id, device_id, stream_id FROM device_inbox"
_RATES = (
    f"{{:,}} rows in mailboxes of 1,000; rows a second, {BATCH_SIZE:,} at once, "
    f"no pauses, best of {ROUNDS}. Read: the same rows and columns in the same order "
    "over the same connection. Delete: the same rows, by key alone and as many at "
    "once. Of ten devices one notice each stays in a mailbox. Wanted: half of the rate "
    "to read and delete."
)
_MEMORY = "`sweep --pause 0`: the most it ever held. Wanted: the same."
_BESIDE = (
    f"{SYNCS} incremental syncs one after the other, of a client on the same Synapse, "
    "while the command runs on the same machine. What differs between the two without "
    "a sweep is noise."
)


async def measure(directory: Path, quick: bool) -> None:
    sizes = (5_000, 20_000) if quick else (10_000, 100_000, 10_000_000)
    rows = 20_000 if quick else 1_000_000
    async with lanes(directory, {"swept": {}}) as [swept]:
        rates = await deferToThread(lambda: [_rate(swept, rows, s) for s in SHARES])
        show("Rate of the sweep", rates, _RATES.format(rows))
        held = [{"rows": size, "MB": await _memory_mb(swept, size)} for size in sizes]
        show("Memory of the sweep", held, _MEMORY)
        show("Syncs beside a sweep", await _syncs_beside(swept, rows), _BESIDE)


def _fill(swept: Lane, rows: int, share: int) -> None:
    """Have so many rows in mailboxes, `share` of a hundred notices of ten devices."""
    texts = [notice(device="DEVDIGIT")] * share + [other()] * (100 - share)
    query = swept.homeserver.query
    query("TRUNCATE device_inbox")
    query(_FILL, (texts, rows))
    # Who looks first at new rows would have to mark them as settled.
    query("VACUUM ANALYZE device_inbox")
    query("CHECKPOINT")


def _rate(swept: Lane, rows: int, share: int) -> dict[str, object]:
    """Sweep, beside what the same connection can do at most."""
    with closing(connect({"database": swept.database}, writes=True)) as connection:
        database = Database(connection.run, connection.driver)
        _fill(swept, rows, share)
        every = set(swept.homeserver.query(_KEYS))
        _sweep(database)
        gone = sorted(every.difference(swept.homeserver.query(_KEYS)), reverse=True)
        steps: dict[str, Callable[[], None]] = {
            "read": lambda: _read(connection),
            "dry run": lambda: _sweep(database, dry_run=True),
            "delete": lambda: _delete(connection, gone),
            "sweep": lambda: _sweep(database),
        }
        best = dict.fromkeys(steps, inf)
        # In turns, so that what else the machine does meets all of them.
        for name, step in [*steps.items()] * ROUNDS:
            # For who reads first, and after the deletion.
            if name in {"read", "sweep"}:
                _fill(swept, rows, share)
            started = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - started)
    return {
        "notices": f"{share}%",
        "sweep": round(rows / best["sweep"]),
        "sweep : read": best["read"] / best["sweep"],
        "sweep : read and delete": (best["read"] + best["delete"]) / best["sweep"],
        "dry run : read": best["read"] / best["dry run"],
    }


def _delete(connection: Connection, gone: list[tuple[Any, ...]]) -> None:
    for begin in range(0, len(gone), BATCH_SIZE):
        batch = gone[begin : begin + BATCH_SIZE]
        keys = ", ".join(["(?, ?, ?)"] * len(batch))
        connection.execute(
            "DELETE FROM device_inbox "  # noqa: S608 only question marks are put in
            f"WHERE (user_id, device_id, stream_id) IN (VALUES {keys})",
            [part for key in batch for part in key],
        )


def _read(connection: Connection) -> None:
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


def _begin(swept: Lane, *more: str) -> Process:
    process = Process(swept.directory / "sweep", swept.directory / "sweep.log")
    config = str(swept.directory / "homeserver.yaml")
    command = (sys.executable, "-m", "synapse_withheld.cli", "sweep", "-c", config)
    process.start(*command, *more)
    return process


async def _memory_mb(swept: Lane, rows: int) -> float:
    _fill(swept, rows, 50)
    process, held = _begin(swept, "--pause", "0"), ["0"]
    while process.runs:
        status = Path(f"/proc/{process.pid}/status").read_text()
        # Nothing is told of what has just ended.
        held = re.findall(r"VmHWM:\s+(\d+) kB", status) or held
        await pause()
    assert len(swept.homeserver.query(_KEYS)) < rows
    return int(held[0]) * 1024 / 1e6


async def _syncs_beside(swept: Lane, rows: int) -> list[dict[str, object]]:
    """Sync without a sweep, beside two, and without again."""
    client = await swept.homeserver.register("reader")
    token = (await client.sync())["next_batch"]
    # What happens only the first time is none of the matter.
    await _sync_ms(client, token)

    async def beside(*more: str) -> float:
        """Sync while the command sweeps, from its first batch on."""
        _fill(swept, rows, 90)
        noted = swept.directory / "place.json"
        process = _begin(swept, "--place", str(noted), *more)
        try:
            # A small table may be swept between two looks.
            await eventually(lambda: noted.exists() or not process.runs, expected=True)
            return await _sync_ms(client, token)
        finally:
            await process.end()
            noted.unlink(missing_ok=True)

    times = {
        "none": await _sync_ms(client, token),
        "default pauses": await beside(),
        "no pauses": await beside("--pause", "0"),
        "none, again": await _sync_ms(client, token),
    }
    return [
        {"sweep": name, "median ms": ms, "ratio": ms / times["none"]}
        for name, ms in times.items()
    ]


async def _sync_ms(client: Client, token: str) -> float:
    times = []
    for _ in range(SYNCS):
        started = time.perf_counter()
        await client.sync(token)
        times.append(1000 * (time.perf_counter() - started))
    return median(times)

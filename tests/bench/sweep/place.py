"""Where a sweep is measured: a Synapse whose mailboxes can be filled at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Iterator

import attrs

from tests.bench.report import Target
from tests.harness.backlog import notice, other
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.postgres import PostgresServer

MAILBOX = 1000  # rows
# At most so much more memory for any number of rows.
FLAT = 1.2
LOOK_EVERY_S = 0.05

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT '@' || LPAD(CAST(n / ? AS TEXT), 6, '0') || ':hs', 'DEVICE', n,
        CASE WHEN MOD(n, 100) < ?
            THEN REPLACE(?, 'DEV0', 'DEV' || MOD(n, 10)) ELSE ? END
    FROM generate_series(1, ?) AS n
"""


@attrs.frozen
class Place:
    name: str
    homeserver: Homeserver
    database: dict[str, Any]
    directory: Path

    def fill(self, rows: int, share: int) -> None:
        """Have so many rows in mailboxes, of a hundred `share` notices.

        Of each mailbox ten notices stay.
        """
        texts = (notice(device="DEV0"), other())
        self.fill_by(_FILL, (MAILBOX, share, *texts, rows))

    def fill_by(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Have in mailboxes what a statement inserts, and nothing else."""
        self.homeserver.query("TRUNCATE device_inbox")
        self.homeserver.query(sql, parameters)
        # Who looks first at new rows would have to mark them as settled.
        self.homeserver.query("VACUUM ANALYZE device_inbox")
        self.homeserver.query("CHECKPOINT")

    def command(self, command: str, *more: str) -> subprocess.Popen[bytes]:
        """Begin to sweep by hand, or to survey."""
        config = str(self.directory / "homeserver.yaml")
        enforce = ["--enforce"] if command == "sweep" else []
        arguments = [command, "-c", config, "--json", *enforce, *more]
        return subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "synapse_withheld.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def weighed(self, command: str) -> tuple[dict[str, Any], int]:
        """Run a command without pauses; return what it told, and the bytes it held."""
        process = self.command(command, "--pause", "0")
        held: dict[int, int] = {}
        while process.poll() is None:
            held.update(_held(process.pid))
            time.sleep(LOOK_EVERY_S)
        assert process.returncode == 0
        return json.loads(process.communicate()[0]), sum(held.values())


def _held(pid: int) -> Iterator[tuple[int, int]]:
    """Return the most bytes that a process held, and those that it started."""
    # What has just ended has no files any more, or holds nothing.
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            yield pid, int(found[1]) * 1024
        program = Path(f"/proc/{pid}/cmdline").read_bytes()
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            # One that is not another program yet still has the memory of this one.
            if Path(f"/proc/{child}/cmdline").read_bytes() != program:
                yield from _held(int(child))


def flat(command: str, peaks: list[int]) -> Target:
    """Return the target about memory, fewest rows first."""
    name = f"{command}: memory, most rows to fewest"
    return Target.most(name, max(peaks) / peaks[0], FLAT, binding=True)


@asynccontextmanager
async def places(
    directory: Path,
) -> AsyncIterator[Callable[[str, dict[str, Any] | None], Awaitable[Place]]]:
    """Give what starts Synapses, with or without the module; stop them in the end."""
    postgres = PostgresServer(directory / "postgres")
    homeservers = []

    async def start(name: str, module: dict[str, Any] | None) -> Place:
        database = postgres.database()
        files = directory / name
        homeserver = Homeserver(files, module=module, database=database)
        homeservers.append(homeserver)
        await homeserver.start()
        return Place(name, homeserver, database, files)

    try:
        yield start
    finally:
        for each in homeservers:
            await each.stop()
        postgres.stop()

"""Where a sweep is measured: a Synapse whose mailboxes can be filled at once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Iterator

import attrs

from synapse_withheld.cli.shared.walking.database import Connection, connect
from tests.harness.databases.backlog import notice, other
from tests.harness.databases.postgres import PostgresServer
from tests.harness.homeservers.homeserver import Homeserver

MAILBOX = 1000  # rows

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT '@' || LPAD(CAST(n / ? AS TEXT), 6, '0') || ':hs', 'DEVICE', n,
        CASE WHEN MOD(n, 100) < ?
            THEN REPLACE(?, 'DEV0', 'DEV' || MOD(n, 10)) ELSE ? END
    FROM generate_series(1, ?) AS n
"""


@attrs.frozen
class Place:
    """A Synapse, and its database."""

    name: str
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
        """Have so many rows in mailboxes, and nothing else.

        Args:
            rows: How many.
            share: How many of a hundred are notices; of each mailbox ten stay.
        """
        self.homeserver.query("TRUNCATE device_inbox")
        texts = (notice(device="DEV0"), other())
        self.homeserver.query(_FILL, (MAILBOX, share, *texts, rows))
        # Who looks first at new rows would have to mark them as settled.
        self.homeserver.query("VACUUM ANALYZE device_inbox")
        self.homeserver.query("CHECKPOINT")

    def command(
        self,
        *more: str,
        command: str = "sweep",
        program: str = "synapse_withheld.cli",
    ) -> subprocess.Popen[bytes]:
        """Begin to sweep by hand, or to survey."""
        config = str(self.directory / "homeserver.yaml")
        arguments = [command, "-c", config, "--json", *more]
        return subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


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

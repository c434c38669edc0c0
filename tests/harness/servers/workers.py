"""A homeserver of several processes, as docs/workers.md describes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import attrs
import yaml

from tests.harness.client import Client
from tests.harness.commands import blocks, program
from tests.harness.process import Process
from tests.harness.samples import ACTIVE, scrape
from tests.harness.servers import settings
from tests.harness.servers.homeserver import Homeserver
from tests.harness.waiting import together, until

PAGE = (Path(__file__).parents[3] / "docs" / "workers.md").read_text()
SHARED, WRITER, SYNC = "homeserver", "to_device", "sync"
SENDER, RECEIVER = "federation_sender", "federation_receiver"
WORKERS = (WRITER, SYNC, SENDER, RECEIVER)


@attrs.define
class Beside:
    """A process beside the main one: a worker, or Redis.

    Attributes:
        command: What starts it.
        ports: Those of a worker's listeners, by their type.
    """

    command: list[str]
    _process: Process
    ports: dict[str, int] = attrs.Factory(dict)
    server_name: str = settings.SERVER_NAME

    @property
    def base_url(self) -> str:
        return f"http://{settings.LOOPBACK}:{self.ports['http']}"

    @property
    def metrics_url(self) -> str:
        return f"http://{settings.LOOPBACK}:{self.ports['metrics']}/_synapse/metrics"

    @property
    def log_path(self) -> Path:
        return self._process.output

    async def start(self) -> None:
        """Start it; who connects to Redis tries until it is there."""
        self._process.start(*self.command)
        if self.ports:
            await self._process.answer(self.metrics_url)

    async def kill(self) -> None:
        self._process.kill()


class Deployment:
    """All processes of one homeserver, and Redis."""

    def __init__(self, directory: Path, database: dict[str, Any]) -> None:
        self.directory = directory
        numbers = sorted({*re.findall(r"port: (\d+)", PAGE)})
        ports = dict(zip(numbers, settings.reserve(len(numbers))))
        # With other ports, and on loopback.
        self.page = re.sub(
            r"(port: |127\.0\.0\.1:)(\d+)",
            lambda found: f"{found[1]}{ports[found[2]]}",
            PAGE.replace("{type: ", f"{{bind_addresses: [{settings.LOOPBACK}], type: "),
        )
        files = (text for kind, text in blocks(self.page) if kind == "yaml")
        shared, *workers = map(yaml.safe_load, files)
        shared["worker_replication_secret"] = "s"  # noqa: S105 on loopback
        shared["modules"][0]["config"] = {"sweep": True}
        self.main = Homeserver(directory, database=database, config=shared)
        self.workers = {each["worker_name"]: self._worker(each) for each in workers}
        listens = f"--bind {settings.LOOPBACK} --port {ports['6379']}"
        keeps = ("--save", "", "--appendonly", "no")
        redis = [program("redis-server"), *listens.split(), *keeps]
        self.redis = Beside(redis, Process(directory, directory / "redis.log"))
        self.everything: dict[str, Any] = {"main": self.main, **self.workers}
        self.everything["redis"] = self.redis

    def _worker(self, config: dict[str, Any]) -> Beside:
        own, shared = f"{config['worker_name']}.yaml", f"{SHARED}.yaml"
        (self.directory / own).write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", config["worker_app"], "-c", shared, "-c", own]
        # The first for HTTP is for clients or other servers, another for replication.
        listeners = reversed(config["worker_listeners"])
        ports = {each["type"]: each["port"] for each in listeners}
        process = Process(self.directory, self.directory / f"{own}.log")
        return Beside(command, process, ports)

    async def start(self) -> None:
        await self.redis.start()
        # It makes the tables.
        await self.main.start()
        await together(*(each.start() for each in self.workers.values()))

    async def stop(self) -> None:
        await self.main.stop()
        for each in self.everything.values():
            await each.kill()

    def at(self, name: str, client: Client) -> Client:
        """Return a client that talks to one of the workers."""
        return attrs.evolve(client, base_url=self.workers[name].base_url)


async def module_metrics(url: str) -> dict[str, float]:
    """Return what a metrics listener tells, once it tells of the module."""
    return await until(lambda: scrape(url), lambda found: ACTIVE in found)

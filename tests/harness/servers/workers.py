"""A homeserver of several processes, as docs/workers.md describes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import yaml

from tests.harness.client import Client
from tests.harness.commands import program
from tests.harness.process import Process
from tests.harness.samples import ACTIVE, scrape
from tests.harness.servers import settings
from tests.harness.servers.homeserver import Homeserver
from tests.harness.waiting import together, until

PAGE = (Path(__file__).parents[3] / "docs" / "workers.md").read_text()
SHARED, WRITER, SYNC = "homeserver", "to_device", "sync"
SENDER, RECEIVER = "federation_sender", "federation_receiver"
WORKERS = (WRITER, SYNC, SENDER, RECEIVER)


def files_of_page() -> dict[str, dict[str, Any]]:
    """Return the files of the page, by their name without `.yaml`."""
    blocks = re.findall(r"^```yaml\n# (\w+)\.yaml.*?\n(.*?)^```$", PAGE, re.M | re.S)
    return {name: yaml.safe_load(text) for name, text in blocks}


def move(config: Any, ports: dict[int, int]) -> Any:
    """Return a configuration with other ports, on loopback; new ones are added."""
    if isinstance(config, list):
        return [move(each, ports) for each in config]
    if not isinstance(config, dict):
        return config
    moved = {key: move(value, ports) for key, value in config.items()}
    if isinstance(port := config.get("port"), int):
        if port not in ports:
            (ports[port],) = settings.reserve(1)
        moved["port"] = ports[port]
    if "type" in config:
        moved["bind_addresses"] = [settings.LOOPBACK]
    return moved


class Worker:
    """One process beside the main one."""

    def __init__(self, name: str, directory: Path, config: dict[str, Any]) -> None:
        self.server_name = settings.SERVER_NAME
        self.log_path = directory / f"{name}.log"
        self._config = config
        self._file = directory / f"{name}.yaml"
        self._process = Process(directory, directory / f"{name}.output")

    @property
    def metrics_url(self) -> str:
        return f"{self._url('metrics')}/_synapse/metrics"

    @property
    def base_url(self) -> str:
        return self._url("http")

    async def start(self) -> None:
        log_config = self._file.with_suffix(".log.d")
        settings.write_log_config(log_config, self.log_path)
        config = {**self._config, "worker_log_config": str(log_config / "log.yaml")}
        self._file.write_text(yaml.safe_dump(config))
        shared = str(self._file.with_name(f"{SHARED}.yaml"))
        command = [sys.executable, "-m", config["worker_app"], "-c", shared]
        self._process.start(*command, "-c", str(self._file))
        await self._process.answer(self.metrics_url, self.log_path)

    async def kill(self) -> None:
        self._process.kill()

    def _url(self, kind: str) -> str:
        listeners = self._config["worker_listeners"]
        (port, *_) = [each["port"] for each in listeners if each["type"] == kind]
        return f"http://{settings.LOOPBACK}:{port}"


class Redis:
    """One Redis that keeps nothing."""

    def __init__(self, directory: Path, port: int) -> None:
        self._port = port
        self._process = Process(directory, directory / "redis.log")

    async def start(self) -> None:
        """Start it; who connects tries until it is there."""
        command = [program("redis-server"), "--bind", settings.LOOPBACK]
        options = ["--port", str(self._port), "--save", "", "--appendonly", "no"]
        self._process.start(*command, *options)

    async def kill(self) -> None:
        self._process.kill()


class Deployment:
    """All processes of one homeserver, and Redis."""

    def __init__(self, directory: Path, database: dict[str, Any]) -> None:
        self.directory = directory
        self._ports: dict[int, int] = {}
        described = move(files_of_page(), self._ports)
        shared = described.pop(SHARED)
        # The main process has its own listeners for clients and metrics.
        listeners = [each for each in shared["listeners"] if "replication" in str(each)]
        (module,) = shared["modules"]
        shared = {
            **shared,
            "listeners": listeners,
            "worker_replication_secret": "s",
            "modules": [{**module, "config": {"sweep": True}}],
        }
        self.main = Homeserver(directory, database=database, config=shared)
        self.workers = {
            name: Worker(name, directory, config) for name, config in described.items()
        }
        redis: Any = Redis(directory, self._ports[6379])
        self.everything = {"redis": redis, "main": self.main, **self.workers}

    async def start(self) -> None:
        await self.everything["redis"].start()
        # It makes the tables.
        await self.main.start()
        await together(*(each.start() for each in self.workers.values()))

    async def stop(self) -> None:
        await self.main.stop()
        for each in self.everything.values():
            await each.kill()

    def with_its_ports(self, command: str) -> str:
        """Return a command of the page with the ports that are used here."""
        ports = {**self._ports, 9000: urlsplit(self.main.metrics_url).port}
        return re.sub(
            r"(?<=127\.0\.0\.1:)\d+", lambda found: str(ports[int(found[0])]), command
        )

    def at(self, name: str, client: Client) -> Client:
        """Return a client that talks to one of the workers."""
        return attrs.evolve(client, base_url=self.workers[name].base_url)


async def module_metrics(url: str) -> dict[str, float]:
    """Return what a metrics listener tells, once it tells of the module."""
    return await until(lambda: scrape(url), lambda found: ACTIVE in found)

"""Run a Prometheus of one's own, and ask it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import attrs
import treq
import yaml

from tests.harness.commands import program
from tests.harness.process import Process, ready, tail
from tests.harness.servers.settings import LOOPBACK, reserve

READY_WITHIN_S = 30.0


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 our own command
        [program("promtool"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@attrs.define(eq=False)
class Prometheus:
    """One Prometheus process, which scrapes and evaluates each second.

    Attributes:
        directory: Where its files go.
        target: `host:port` of the Synapse listener that it scrapes.
        labels: What it adds to each series of that.
        rules: The text of its rule file.
    """

    directory: Path
    target: str
    labels: dict[str, str]
    rules: str
    _port: int = attrs.field(default=0, init=False)
    _process: Process = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = Process(self.directory, self.directory / "output.log")

    async def start(self) -> None:
        """Start it and wait until it answers."""
        scraped = {
            "job_name": self.labels["job"],
            "metrics_path": "/_synapse/metrics",
            "static_configs": [{"targets": [self.target], "labels": self.labels}],
        }
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [scraped],
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "rules.yml").write_text(self.rules)
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        (self._port,) = reserve(1)
        self._process.start(
            program("prometheus"),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        )
        url = f"http://{LOOPBACK}:{self._port}/-/ready"
        if not await ready(self._process, url, READY_WITHIN_S):
            log = tail(self._process.output)
            raise AssertionError(f"Prometheus did not start:\n{log}")

    async def stop(self) -> None:
        await self._process.end()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now."""
        answer = await self._get("/api/v1/query", {"query": expression})
        return list(answer["result"])

    async def query_range(
        self, expression: str, start: float, end: float, step_s: float
    ) -> list[dict[str, Any]]:
        """Return the series of an expression over a time, in seconds since 1970."""
        times = {"start": str(start), "end": str(end), "step": str(step_s)}
        answer = await self._get("/api/v1/query_range", {"query": expression, **times})
        return list(answer["result"])

    async def rule_states(self) -> list[dict[str, Any]]:
        groups = (await self._get("/api/v1/rules", {}))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def _get(self, path: str, parameters: dict[str, str]) -> Any:
        url = f"http://{LOOPBACK}:{self._port}{path}"
        response = await treq.get(url, params=parameters)
        answer = await response.json()
        assert answer["status"] == "success", answer
        return answer["data"]

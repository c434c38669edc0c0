"""Run a Prometheus of one's own, and ask it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import attrs
import yaml

from tests.harness.commands import program
from tests.harness.process import Process
from tests.harness.servers.settings import LOOPBACK, reserve
from tests.harness.waiting import fetch


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
    """One Prometheus process, which scrapes a target and evaluates each second.

    The target is `host:port` of a Synapse, the rules the text of a file.
    """

    directory: Path
    target: str
    labels: dict[str, str]
    rules: str
    _port: int = attrs.field(factory=lambda: reserve(1)[0], init=False)
    _process: Process = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = Process(self.directory, self.directory / "output.log")

    @property
    def _url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

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
        self._process.start(
            program("prometheus"),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        )
        await self._process.answer(f"{self._url}/-/ready")

    async def stop(self) -> None:
        await self._process.end()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now."""
        return list((await self._get("query", query=expression))["result"])

    async def query_range(
        self, expression: str, start: float, end: float, step_s: float
    ) -> list[dict[str, Any]]:
        """Return the series of an expression over a time, in seconds since 1970."""
        times = {"start": str(start), "end": str(end), "step": str(step_s)}
        answer = await self._get("query_range", query=expression, **times)
        return list(answer["result"])

    async def rule_states(self) -> list[dict[str, Any]]:
        groups = (await self._get("rules"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def _get(self, path: str, **parameters: str) -> Any:
        _, text = await fetch("GET", f"{self._url}/api/v1/{path}", params=parameters)
        answer = json.loads(text)
        assert answer["status"] == "success", answer
        return answer["data"]

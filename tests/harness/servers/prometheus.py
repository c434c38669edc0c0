"""Run a Prometheus of one's own, and ask it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.harness.commands import program
from tests.harness.process import Process
from tests.harness.servers.settings import LOOPBACK, reserve
from tests.harness.waiting import read


class Prometheus:
    """One Prometheus process, which scrapes a target and evaluates each second.

    The target is `host:port` of a Synapse, the rules the text of a file.
    """

    def __init__(
        self, directory: Path, target: str, labels: dict[str, str], rules: str
    ) -> None:
        scraped = {
            "job_name": labels["job"],
            "metrics_path": "/_synapse/metrics",
            "static_configs": [{"targets": [target], "labels": labels}],
        }
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [scraped],
        }
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rules.yml").write_text(rules)
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.target = target
        self._address = f"{LOOPBACK}:{reserve(1)[0]}"
        self._process = Process(directory, directory / "output.log")
        self.stop = self._process.end

    async def start(self) -> None:
        self._process.start(
            program("prometheus"),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={self._address}",
        )
        await self._process.answer(f"http://{self._address}")

    async def query(self, expression: str) -> list[dict[str, Any]]:
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
        url = f"http://{self._address}/api/v1/{path}"
        return json.loads(await read(url, **parameters))["data"]

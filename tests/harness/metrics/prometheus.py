"""Run a Prometheus of one's own, and ask it."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any

import attrs
import treq
import yaml

from tests.harness.homeservers.settings import LOOPBACK, free
from tests.harness.polling import pause, until
from tests.harness.programs import program

if TYPE_CHECKING:
    from pathlib import Path

ENDS_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.05
START_TRIES = 3


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool; its output and errors are one text."""
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
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            AssertionError: It ends or does not answer in time; with its log.
        """
        self._write()
        for _ in range(START_TRIES):
            # Somebody else may take the port before it does.
            (self._port,) = free(1)
            self._spawn()
            if await until(self._ready_or_ended, lambda state: state != "starting") == (
                "ready"
            ):
                return
        raise AssertionError(f"Prometheus did not start:\n{self._log()}")

    async def stop(self) -> None:
        """End it, by force where it does not end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        for _ in range(int(ENDS_WITHIN_S / LOOK_AGAIN_S)):
            if process.poll() is not None:
                return
            await pause(LOOK_AGAIN_S)
        process.kill()
        process.wait()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now.

        Raises:
            AssertionError: Prometheus refuses it.
        """
        answer = await self._get("/api/v1/query", {"query": expression})
        result: list[dict[str, Any]] = answer["result"]
        return result

    async def query_range(
        self, expression: str, start: float, end: float, step_s: float
    ) -> list[dict[str, Any]]:
        """Return the series of an expression over a time, in seconds since 1970.

        Raises:
            AssertionError: Prometheus refuses it.
        """
        times = {"start": str(start), "end": str(end), "step": str(step_s)}
        answer = await self._get("/api/v1/query_range", {"query": expression, **times})
        result: list[dict[str, Any]] = answer["result"]
        return result

    async def label_values(self, metric: str, label: str) -> list[str]:
        """Return the values that a label of a metric has."""
        path = f"/api/v1/label/{label}/values"
        values: list[str] = await self._get(path, {"match[]": metric})
        return values

    async def rule_states(self) -> list[dict[str, Any]]:
        """Return each rule as it was last evaluated."""
        groups = (await self._get("/api/v1/rules", {}))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def _get(self, path: str, parameters: dict[str, str]) -> Any:
        url = f"http://{LOOPBACK}:{self._port}{path}"
        response = await treq.get(url, params=parameters)
        answer = await response.json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def _ready_or_ended(self) -> str:
        if self._process is None or self._process.poll() is not None:
            return "ended"
        try:
            response = await treq.get(f"http://{LOOPBACK}:{self._port}/-/ready")
            await response.content()
        except Exception:  # noqa: BLE001 refused, reset, …: not ready yet
            return "starting"
        return "ready" if response.code == 200 else "starting"

    def _write(self) -> None:
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

    def _spawn(self) -> None:
        command = [
            program("prometheus"),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        ]
        with (self.directory / "output.log").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 our own command
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
            )

    def _log(self) -> str:
        return (self.directory / "output.log").read_text(errors="replace")[-4000:]

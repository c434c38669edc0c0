"""Run a Redis of one's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import attrs

from tests.harness.homeservers.settings import LOOPBACK
from tests.harness.programs import program


@attrs.define(eq=False)
class Redis:
    """One Redis that keeps nothing.

    Attributes:
        directory: Where its files go.
        port: Where it listens, on loopback.
    """

    directory: Path
    port: int
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        """Start it; who connects tries until it is there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [program("redis-server"), "--bind", LOOPBACK]
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no"]
        with (self.directory / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 our own command
                [*command, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
            )

    def kill(self) -> None:
        """Kill it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

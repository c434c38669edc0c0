"""Run a Redis of one's own."""

from __future__ import annotations

from pathlib import Path

import attrs

from tests.harness.homeservers.settings import LOOPBACK
from tests.harness.processes.process import Process
from tests.harness.processes.programs import program


@attrs.define(eq=False)
class Redis:
    """One Redis that keeps nothing.

    Attributes:
        directory: Where its files go.
        port: Where it listens, on loopback.
    """

    directory: Path
    port: int
    _process: Process = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = Process(self.directory, self.directory / "redis.log")

    def start(self) -> None:
        """Start it; who connects tries until it is there."""
        command = [program("redis-server"), "--bind", LOOPBACK]
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process.start(*command, *options)

    def kill(self) -> None:
        self._process.kill()

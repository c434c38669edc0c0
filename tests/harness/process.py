"""Processes of one's own: start them, wait until they listen, end them."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from tests.harness.waiting import become

STARTS_WITHIN_S, ENDS_WITHIN_S = 60.0, 10.0


@attrs.define(eq=False)
class Process:
    """A process that can be started again; what it prints goes to a file each time."""

    directory: Path
    output: Path
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """Return its ID from its start until it is ended here."""
        return None if self._process is None else self._process.pid

    @property
    def runs(self) -> bool:
        """Say whether it was started and has not ended, by itself or here."""
        return self._process is not None and self._process.poll() is None

    def start(self, *command: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 our own command
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
            )

    async def answer(self, url: str, *logs: Path) -> None:
        """Wait until it listens; end it, and raise with its logs, if it does not."""
        there = urlsplit(url)

        def listens() -> bool:
            with socket.socket() as client:
                return client.connect_ex((there.hostname, there.port)) == 0

        await become(lambda: listens() or not self.runs, STARTS_WITHIN_S)
        if not (self.runs and listens()):
            self.kill()
            raise AssertionError(f"it did not start:\n{tail(self.output, *logs)}")

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force where it does not end in time."""
        if self._process is not None:
            self._process.send_signal(how)
            await become(lambda: not self.runs, ENDS_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def tail(*paths: Path, lines: int = 60) -> str:
    """Return the last lines of files, one after the other, as far as they exist."""
    texts = [path.read_text(errors="replace") for path in paths if path.exists()]
    return "\n".join("".join(texts).splitlines()[-lines:])

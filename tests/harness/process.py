"""Processes of one's own: start them, ask whether they are ready, end them."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import attrs
from twisted.internet.defer import CancelledError

from tests.harness.waiting import become, fetch, pause

STARTS_WITHIN_S, ENDS_WITHIN_S = 60.0, 10.0
LOOK_EVERY_S = 0.1


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
        """Wait until it answers; end it, and raise with its logs, if it does not."""
        if not await ready(self, url, STARTS_WITHIN_S):
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


async def ready(process: Process, url: str, within_s: float) -> bool:
    """Wait until a process answers; say whether it did, in time and before it ended."""
    for _ in range(int(within_s / LOOK_EVERY_S)):
        if not process.runs:
            return False
        try:
            code, _body = await fetch("GET", url, within_s=10)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 refused, reset, …: not ready yet
            code = 0
        if code == 200:
            return True
        await pause(LOOK_EVERY_S)
    return False


def tail(*paths: Path, lines: int = 60) -> str:
    """Return the last lines of files, one after the other, as far as they exist."""
    texts = [path.read_text(errors="replace") for path in paths if path.exists()]
    return "\n".join("".join(texts).splitlines()[-lines:])

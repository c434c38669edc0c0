"""Processes of one's own: start them, ask whether they are ready, end them."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import attrs
import treq
from twisted.internet.defer import CancelledError

from tests.harness.waiting import become, cancellable, pause

ENDS_WITHIN_S = 10.0
LOOK_EVERY_S = 0.1
ANSWERS_WITHIN_S = 10.0
OK = 200


@attrs.define(eq=False)
class Process:
    """A process that can be started again after it ended.

    Attributes:
        directory: Where it runs.
        output: The file with what it prints; each start begins it anew.
    """

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
        if await answers(url):
            return True
        await pause(LOOK_EVERY_S)
    return False


async def answers(url: str) -> bool:
    try:
        code = await cancellable(_code_of(url))
    except CancelledError:
        raise
    except Exception:  # noqa: BLE001 refused, reset, …: not ready yet
        return False
    return code == OK


def tail(*paths: Path, lines: int = 60) -> str:
    """Return the last lines of files, one after the other, as far as they exist."""
    texts = [path.read_text(errors="replace") for path in paths if path.exists()]
    return "\n".join("".join(texts).splitlines()[-lines:])


async def _code_of(url: str) -> int:
    # Somebody else may have taken the port, and say nothing.
    response = await treq.get(url, timeout=ANSWERS_WITHIN_S)
    await response.content()
    return int(response.code)

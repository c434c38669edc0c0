"""What is run in a reactor of its own ends with its code, and cleans up before."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Prints before it waits, and when it has cleaned up, which takes a moment.
WAITS = """
import sys
from twisted.internet.defer import Deferred
from tests.harness.polling import pause
from tests.harness.running import run

async def wait():
    try:
        print("waiting", flush=True)
        await Deferred()
    finally:
        await pause(0.3)
        print("cleaned up", flush=True)

sys.exit(run(wait))
"""


def start(program: str) -> subprocess.Popen[str]:
    """Start a program of Python."""
    return subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [("return 7", 7, ""), ("raise ValueError('as asked for')", 2, "as asked for")],
)
def test_the_exit_code_is_what_it_returns_or_that_of_an_error(
    body: str, code: int, error: str
) -> None:
    """With the error's traceback."""
    program = "import sys\nfrom tests.harness.running import run\n"
    program += f"async def main():\n    {body}\nsys.exit(run(main))"
    with start(program) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert error in errors


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_interrupted_cleans_up_before_it_ends(how: signal.Signals) -> None:
    """A second signal does not cut that short."""
    with start(WAITS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(how)
        process.send_signal(how)
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "cleaned up\n")

"""What the tests wait and play with does not let a fault pass for none."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from tests.harness import waiting
from tests.harness.commands import program
from tests.harness.reactor import in_reactor
from tests.harness.servers.settings import LOOPBACK, reserve
from tests.harness.waiting import cancellable

WAITS = """
    try:
        print("waiting", flush=True)
        await Deferred()
    finally:
        await pause(0.3)
        print("cleaned up", flush=True)
"""


@in_reactor
async def test_what_never_becomes_true_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.1)
    with pytest.raises(AssertionError):
        await waiting.eventually(lambda: 1, 2)

    async def look() -> int:
        return 5

    with pytest.raises(AssertionError, match="5"):
        await waiting.until(look, lambda _: False)


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_program_skips_but_fails_where_nothing_may_be_skipped(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no promtool: apt-get install prometheus"):
        program("promtool")


@pytest.mark.skipif(sys.platform != "linux", reason="ports are reserved on Linux")
def test_a_reserved_port_is_given_to_nobody_but_who_names_it() -> None:
    [port] = reserve(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, port))
    for _ in range(2):
        # As servers do, and again after an end.
        with socket.create_server((LOOPBACK, port)):
            pass


def test_cancelled_is_cancelled_whatever_the_coroutine_makes_of_it() -> None:
    """Or who goes on after a broken connection would go on after Ctrl-C."""

    async def ask() -> None:
        try:
            await Deferred()
        except CancelledError as error:
            # As Twisted's HTTP client has it.
            raise ConnectionError from error

    failures: list[Failure] = []
    running = cancellable(ask())
    running.addErrback(failures.append)
    running.cancel()
    assert isinstance(failures[0].value, CancelledError)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("    raise ValueError('as asked for')", 2, "as asked for"),
        (WAITS, 130, "cleaned up"),
    ],
)
def test_what_runs_ends_with_its_code_and_cleans_up_if_it_is_interrupted(
    body: str, code: int, said: str
) -> None:
    """A second signal does not cut that short."""
    program = (
        "import sys\n"
        "from twisted.internet.defer import Deferred\n"
        "from tests.harness.waiting import pause, run\n"
        f"async def main():\n{body}\nsys.exit(run(main))"
    )
    with subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        if body == WAITS:
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, said in output) == (code, True)

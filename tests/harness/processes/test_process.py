"""A process is told from one that ended, and is ended for certain."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.harness.browsers.page_server import PageServer
from tests.harness.polling import eventually
from tests.harness.processes.process import Process, answers, ready, tail
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "http://127.0.0.1:1/"
SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
IGNORES = f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEPS}"


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """Return one that is not started."""
    return Process(tmp_path / "there", tmp_path / "there" / "output.log")


@in_reactor
async def test_one_that_ends_by_itself_is_not_waited_for(process: Process) -> None:
    """Its output says why."""
    process.start(sys.executable, "-c", "print('no such port')")
    assert not await ready(process, NOBODY, within_s=30)
    assert not process.runs
    assert process.pid is not None
    assert tail(process.output) == "no such port"


@in_reactor
async def test_one_that_does_not_answer_is_given_up(process: Process) -> None:
    """It runs on until it is ended."""
    process.start(sys.executable, "-c", SLEEPS)
    assert not await ready(process, NOBODY, within_s=0.3)
    assert process.runs
    await process.end()
    assert (process.runs, process.pid) == (False, None)


@in_reactor
async def test_one_that_does_not_end_is_killed(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while."""
    monkeypatch.setattr("tests.harness.processes.process.ENDS_WITHIN_S", 0.3)
    process.start(sys.executable, "-c", IGNORES)
    await eventually(lambda: tail(process.output), "up")
    await process.end(signal.SIGTERM)
    assert not process.runs


@in_reactor
async def test_only_200_is_an_answer() -> None:
    """Not a refused connection, nor an error."""
    server = PageServer()
    server.start()
    try:
        assert await answers(server.url)
        assert not await answers(f"{server.url}v1/status")
    finally:
        server.stop()
    assert not await answers(NOBODY)


def test_a_tail_is_of_the_files_that_exist(tmp_path: Path) -> None:
    """One after the other."""
    (tmp_path / "a").write_text("1\n2\n")
    (tmp_path / "b").write_text("3\n")
    paths = [tmp_path / name for name in ("a", "none", "b")]
    assert tail(*paths, lines=2) == "2\n3"
    assert tail(tmp_path / "none") == ""

"""The command line beside a real Synapse, as its page and the others show it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld import __version__
from synapse_withheld.cli.__main__ import commands
from synapse_withheld.synapse_internals import synapse_version
from tests.e2e.test_docs import OWN
from tests.harness.commands import (
    METRICS,
    Example,
    address_of,
    addressed,
    command_line,
    examples,
    in_shell,
)
from tests.harness.messages import ENCRYPTED, make_key, make_notice, make_olm_lookalike
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.servers.homeserver import Homeserver, rows_of
from tests.harness.servers.stage import Stage, send
from tests.harness.waiting import PATIENCE_S

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
# As the page names it.
NEWEST = "1.163.2"


@async_fixture(scope="module")
async def place(stage: Stage) -> Homeserver:
    """Run a Synapse that one device has sent many notices to another on."""
    homeserver = await stage.start({})
    directory = homeserver.log_path.parent
    sender = await homeserver.register("alice", device_id="PHONE")
    recipient = await homeserver.register("bob", device_id="LAPTOP")
    key = make_key("alice")
    for copies in (40, 10):
        for _ in range(copies):
            notice = make_notice(key, sender.device_id)
            await send(sender, recipient, notice)
        olm = make_olm_lookalike(key)
        await send(sender, recipient, olm, ENCRYPTED)
    # Copies as from before the module was there.
    text = json.dumps(json.loads(rows_of(homeserver, recipient)[-2]))
    other = await homeserver.register("carol", device_id="TABLET")
    for stream_id in range(-20, 0):
        homeserver.query(
            """
            INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
            VALUES (?, ?, ?, ?)
            """,
            (other.user_id, other.device_id, stream_id, text),
        )
    admin = await homeserver.register("admin", admin=True)
    (directory / "token.txt").write_text(admin.access_token + "\n")
    block = re.search(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    (directory / "messages.jsonl").write_text(block[1])
    return homeserver


def shell(place: Homeserver, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a page, with the addresses of a homeserver."""
    return in_shell(addressed(command, place), place.log_path.parent)


def status(place: Homeserver, *arguments: str) -> tuple[int, Any, str]:
    """Run `status`; return its exit code, its numbers, and what else it says."""
    command = ("status", "--json", *arguments)
    result = command_line(*command, directory=place.log_path.parent)
    numbers = json.loads(result.stdout) if result.stdout else None
    return result.returncode, numbers, result.stderr


@pytest.mark.parametrize("example", examples(PAGE), ids=lambda each: each.command)
@in_reactor
async def test_the_page_shows_what_a_command_prints(
    place: Homeserver, example: Example
) -> None:
    result = shell(place, example.command)
    address = address_of(place.metrics_url)
    printed = result.stdout.replace(address, METRICS).replace(__version__, "0.1.0")
    newest = rf"{re.escape(synapse_version())}(?=; tested)"
    assert example.output == re.sub(newest, NEWEST, printed)
    assert result.returncode == (1 if "WRONG" in example.output else 0)


def test_the_page_shows_every_command() -> None:
    shown = {each.command.split()[1] for each in examples(PAGE)}
    assert shown == set(commands())


@pytest.mark.parametrize("command", OWN)
@in_reactor
async def test_a_command_does_what_its_page_says(
    place: Homeserver, command: str
) -> None:
    result = shell(place, command)
    assert (result.returncode, result.stdout != "") == (0, True), result.stderr


@in_reactor
async def test_status_adds_up_what_processes_tell_and_names_who_does_not(
    place: Homeserver,
) -> None:
    url, nobody = place.metrics_url, "http://127.0.0.1:1"
    code, numbers, said = status(place, url, url, nobody)
    assert (code, numbers["processes"], numbers["seen"]) == (1, 2, 100)
    assert "http://127.0.0.1:1/_synapse/metrics: it does not answer" in said
    assert status(place, nobody)[:2] == (2, None)


@in_reactor
async def test_status_refreshes_until_it_is_interrupted(place: Homeserver) -> None:
    """A line of JSON each time and at once; to be interrupted is its end."""
    arguments = ["--watch", "--every", "1s", "--json", place.metrics_url]
    # Set where tests run in containers, it would hide a missing flush.
    hides = "PYTHONUNBUFFERED"
    process = subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "synapse_withheld.cli", "status", *arguments],
        env={key: value for key, value in os.environ.items() if key != hides},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["seen"] for _ in range(2)]
    process.send_signal(signal.SIGINT)
    try:
        _, talk = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (seen, process.returncode, talk) == ([50, 50], 0, "")

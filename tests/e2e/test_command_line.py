"""The command line beside a real Synapse, as its page and the others show it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, AsyncIterator

import attrs
import pytest
import yaml

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
from tests.harness.messages import (
    ENCRYPTED,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import decisions, total
from tests.harness.servers.homeserver import Homeserver, rows_of
from tests.harness.servers.stage import Stage, send
from tests.harness.waiting import PATIENCE_S

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
# As the page names it.
NEWEST = "1.163.2"


@attrs.frozen
class Place:
    """A homeserver after some traffic, and the directory with its files."""

    homeserver: Homeserver
    directory: Path

    def check(self, *more: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Run `check`; return its exit code and the findings by their question."""
        arguments = ("check", "--json", "-c", "homeserver.yaml", *more)
        result = command_line(*arguments, directory=self.directory)
        said = json.loads(result.stdout)
        assert (result.stderr, said["acting"]) == ("", result.returncode == 0)
        return result.returncode, {each["question"]: each for each in said["findings"]}

    def status(self, *arguments: str) -> tuple[int, Any, str]:
        """Run `status`; return its exit code, its numbers, and what else it says."""
        command = ("status", "--json", *arguments)
        result = command_line(*command, directory=self.directory)
        numbers = json.loads(result.stdout) if result.stdout else None
        return result.returncode, numbers, result.stderr

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of a page, with the addresses of this homeserver."""
        return in_shell(addressed(command, self.homeserver), self.directory)


@async_yield_fixture(scope="module")
async def place(stage: Stage) -> AsyncIterator[Place]:
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
    yield Place(homeserver, directory)


@in_reactor
async def test_check_says_that_the_module_acts(place: Place) -> None:
    """Every answer is right, and it has seen what was sent."""
    code, findings = place.check()
    assert code == 0
    assert {each["state"] for each in findings.values()} == {"ok"}
    assert findings["writer"]["found"] == "master"
    assert findings["metrics"]["found"] == place.homeserver.metrics_url
    assert findings["active"]["found"] == "1; 50 notices seen, 48 collapsed"


@pytest.mark.parametrize(
    ("entry", "wrong", "said"),
    [
        (
            {"mode": "observe"},
            ["config"],
            "'mode' beside 'config', where Synapse ignores it",
        ),
        # What runs was started before.
        (
            {"config": {"mode": "observe"}},
            ["loaded"],
            "it runs mode enforce, not observe",
        ),
        # What is hardly meant is no error; and the other name that Synapse can import.
        ({"config": {"rules": {"no_olm": False}}}, [], "all rules are off"),
        ({"module": "synapse_withheld.module.WithheldModule"}, [], ""),
    ],
)
@in_reactor
async def test_check_says_what_is_wrong_with_the_configuration(
    place: Place, entry: dict[str, Any], wrong: list[str], said: str
) -> None:
    """Or that a restart is due, since the file says something else than what runs."""
    modules = [{"module": "synapse_withheld.WithheldModule", **entry}]
    (place.directory / "other.yaml").write_text(yaml.safe_dump({"modules": modules}))
    code, findings = place.check("-c", "other.yaml")
    assert code == (1 if wrong else 0)
    assert wrong == [
        name for name, each in findings.items() if each["state"] == "wrong"
    ]
    assert said in findings[wrong[0] if wrong else "config"]["found"]


@in_reactor
async def test_the_commands_say_that_the_module_is_left_out(stock: Homeserver) -> None:
    """Neither in the files nor in the process."""
    place = Place(stock, stock.log_path.parent)
    code, findings = place.check()
    assert code == 1
    missing = [name for name, each in findings.items() if each["state"] == "wrong"]
    assert missing == ["config", "loaded"]
    assert "under 'modules:'" in findings["config"]["do"]
    code, _, said = place.status(stock.metrics_url)
    assert code == 1
    assert "this process did not load the module" in said


@in_reactor
async def test_status_tells_the_numbers_of_the_metrics(place: Place) -> None:
    """Added up as Prometheus would; what it cannot read it names."""
    url, nobody = place.homeserver.metrics_url, "http://127.0.0.1:1"
    metrics = await place.homeserver.metrics()
    made = decisions(metrics)
    assert made == {"deliver": 1, "collapse": 48, "supersede": 1}
    expected = {
        "processes": 1,
        "active": 1,
        "modes": ["enforce"],
        "seen": 50,
        "rules": {"no_olm": 50},
        "collapsed": made["collapse"],
        "superseded": made["supersede"],
        "bytes_saved": total(metrics, "synapse_withheld_collapsed_bytes_total"),
        "failures": 0,
        "tracked_pairs": total(metrics, "synapse_withheld_tracked_pairs"),
        # The first was no repeat.
        "share": 48 / 49,
    }
    assert (0, expected, "") == place.status(url)
    code, numbers, said = place.status(url, url, nobody)
    assert (code, numbers["processes"], numbers["seen"]) == (1, 2, 100)
    assert "http://127.0.0.1:1/_synapse/metrics: it does not answer" in said
    assert place.status(nobody)[:2] == (2, None)


@in_reactor
async def test_status_refreshes_until_it_is_interrupted(place: Place) -> None:
    """A line of JSON each time and at once; to be interrupted is its end."""
    arguments = ["--watch", "--every", "1s", "--json", place.homeserver.metrics_url]
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


@pytest.mark.parametrize("example", examples(PAGE), ids=lambda each: each.command)
@in_reactor
async def test_the_page_shows_what_a_command_prints(
    place: Place, example: Example
) -> None:
    result = place.shell(example.command)
    address = address_of(place.homeserver.metrics_url)
    printed = result.stdout.replace(address, METRICS).replace(__version__, "0.1.0")
    newest = rf"{re.escape(synapse_version())}(?=; tested)"
    assert example.output == re.sub(newest, NEWEST, printed)
    assert result.returncode == (1 if "WRONG" in example.output else 0)


def test_the_page_shows_every_command() -> None:
    shown = {each.command.split()[1] for each in examples(PAGE)}
    assert shown == set(commands())


@pytest.mark.parametrize("command", OWN)
@in_reactor
async def test_a_command_does_what_its_page_says(place: Place, command: str) -> None:
    result = place.shell(command)
    assert (result.returncode, result.stdout != "") == (0, True), result.stderr

"""The command line beside a real Synapse, as its page shows it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, AsyncIterator

import attrs
import pytest
import yaml

from synapse_withheld import __version__
from synapse_withheld.cli.__main__ import commands
from synapse_withheld.synapse_internals import synapse_version
from tests.harness.clients.messages import (
    ENCRYPTED,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.homeservers.stage import Stage, send
from tests.harness.metrics.samples import decisions, total
from tests.harness.polling import PATIENCE_S, eventually
from tests.harness.processes.commands import (
    METRICS,
    Example,
    address_of,
    addressed,
    check,
    command_line,
    examples,
    in_shell,
)
from tests.harness.reactor import async_yield_fixture, in_reactor

if TYPE_CHECKING:
    from tests.harness.homeservers.homeserver import Homeserver

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
FILE = "messages.jsonl"
_UNBUFFERED = "PYTHONUNBUFFERED"
# As the page names it.
NEWEST = "1.163.2"


@attrs.frozen
class Place:
    """A homeserver after some traffic, and the directory with its files."""

    homeserver: Homeserver
    directory: Path

    def check(self, *more: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Run `check`; return its exit code and the findings by their question."""
        arguments = ("-c", "homeserver.yaml", *more)
        code, found = check(*arguments, directory=self.directory)
        assert found.pop("acting") == (code == 0)
        return code, found

    def write(self, name: str, config: Any) -> str:
        """Write a file of configuration and return its name."""
        (self.directory / name).write_text(yaml.safe_dump(config))
        return name


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
        olm = make_olm_lookalike(key, make_key("bob"))
        await send(sender, recipient, olm, ENCRYPTED)
    await leave_backlog(homeserver)
    admin = await homeserver.register("admin", admin=True)
    (directory / "token.txt").write_text(admin.access_token + "\n")
    yield Place(homeserver, directory)


async def leave_backlog(homeserver: Homeserver) -> None:
    """Put copies into a mailbox, as from before the module was there."""
    recipient = await homeserver.register("carol", device_id="TABLET")
    content = make_notice(make_key("alice"), "PHONE")
    text = json.dumps(make_message("@alice:withheld.test", content))
    for stream_id in range(-20, 0):
        homeserver.query(
            """
            INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
            VALUES (?, ?, ?, ?)
            """,
            (recipient.user_id, recipient.device_id, stream_id, text),
        )


def to_do(findings: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what is to be done, by question."""
    done = {name: each["do"] for name, each in findings.items() if each["do"]}
    states = {name: findings[name]["state"] for name in done}
    assert states == dict.fromkeys(done, "wrong")
    return done


@in_reactor
async def test_check_says_that_the_module_acts(place: Place) -> None:
    """Every answer is right, and it has seen what was sent."""
    code, findings = place.check()
    assert code == 0
    assert {each["state"] for each in findings.values()} == {"ok"}
    assert findings["writer"]["found"] == "master"
    assert findings["metrics"]["found"] == place.homeserver.metrics_url
    assert findings["active"]["found"] == "1; 50 notices seen, 48 collapsed"


@in_reactor
async def test_check_says_what_is_wrong_with_an_address(place: Place) -> None:
    """While Synapse does not run, what it would tell is not known."""
    code, findings = place.check("--metrics-url", "http://127.0.0.1:1")
    assert code == 1
    assert "start Synapse" in findings["metrics"]["do"]
    states = [findings[each]["state"] for each in ("loaded", "active", "failures")]
    assert states == ["unknown"] * 3

    code, findings = place.check("--metrics-url", place.homeserver.base_url)
    assert code == 1
    assert "it answers 404" in findings["metrics"]["found"]


@pytest.mark.parametrize(
    ("entry", "wrong", "said"),
    [
        ({"config": {"mod": "x"}}, ["config"], "'mod' is no known key"),
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
        # What is hardly meant is no error.
        ({"config": {"rules": {"no_olm": False}}}, [], "all rules are off"),
        ({"config": {"session_hold": "24h"}}, [], "without 'repeat: session'"),
        # The other name that Synapse can import.
        ({"module": "synapse_withheld.module.WithheldModule"}, [], ""),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
@in_reactor
async def test_check_says_what_is_wrong_with_the_configuration(
    place: Place, entry: dict[str, Any], wrong: list[str], said: str
) -> None:
    """Or that a restart is due, since the file says something else than what runs."""
    modules = [{"module": "synapse_withheld.WithheldModule", **entry}]
    code, findings = place.check("-c", place.write("other.yaml", {"modules": modules}))
    assert code == (1 if wrong else 0)
    assert wrong == [
        name for name, each in findings.items() if each["state"] == "wrong"
    ]
    assert said in findings[wrong[0] if wrong else "config"]["found"]


@in_reactor
async def test_check_asks_for_the_file_of_the_writer(place: Place) -> None:
    """And with it finds the metrics of the worker."""
    writers = {"stream_writers": {"to_device": "writer1"}}
    shared = place.write("shared.yaml", writers)
    code, findings = place.check("-c", shared)
    assert code == 1
    assert "'worker_name: writer1'" in to_do(findings)["metrics"]

    port = int(place.homeserver.metrics_url.split(":")[2].split("/")[0])
    listeners = [{"type": "metrics", "port": port}]
    worker = {"worker_name": "writer1", "worker_listeners": listeners}
    code, findings = place.check("-c", shared, "-c", place.write("w.yaml", worker))
    assert (code, findings["writer"]["found"]) == (0, "writer1")


@in_reactor
async def test_check_says_that_the_module_is_left_out(own_stage: Stage) -> None:
    """Neither in the files nor in the process."""
    homeserver = await own_stage.start(None)
    place = Place(homeserver, homeserver.log_path.parent)
    code, findings = place.check()
    assert code == 1
    missing = [name for name, each in findings.items() if each["state"] == "wrong"]
    assert missing == ["config", "loaded"]
    assert "under 'modules:'" in findings["config"]["do"]
    result = command_line("status", homeserver.metrics_url, directory=place.directory)
    assert result.returncode == 1
    assert "this process did not load the module" in result.stderr


@in_reactor
async def test_a_file_that_is_not_there_is_no_answer(place: Place) -> None:
    """Said on standard error."""
    result = command_line("check", "-c", "no.yaml", directory=place.directory)
    assert (result.returncode, result.stdout) == (2, "")
    assert "no.yaml" in result.stderr


@in_reactor
async def test_status_tells_the_numbers_of_the_metrics(place: Place) -> None:
    """Added up as Prometheus would."""
    url = place.homeserver.metrics_url
    result = command_line("status", "--json", url, directory=place.directory)
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
    assert expected == json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")


@in_reactor
async def test_status_adds_up_what_it_can_read(place: Place) -> None:
    """What it cannot read it names; of nothing it says nothing."""
    url, nobody = place.homeserver.metrics_url, "http://127.0.0.1:1"
    directory = place.directory
    result = command_line("status", "--json", url, url, nobody, directory=directory)
    data = json.loads(result.stdout)
    assert (data["processes"], data["seen"], result.returncode) == (2, 100, 1)
    assert "http://127.0.0.1:1/_synapse/metrics: it does not answer" in result.stderr
    result = command_line("status", nobody, directory=directory)
    assert (result.returncode, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a metrics listener, or give -c"),
        (["127.0.0.1:9000"], "does not begin like http://127.0.0.1:9000"),
        (["--every", "0", "http://h"], "a second or more; a number without a unit is"),
        (["--every", "2", "http://h"], "found the text '2'"),
    ],
)
def test_what_status_cannot_take_is_answered_with_what_it_can(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    """Not hidden behind what the parser says of every mistake."""
    result = command_line("status", *arguments, directory=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr


def watching(place: Place, every: str) -> subprocess.Popen[str]:
    """Begin to watch the numbers, as JSON."""
    arguments = ["--watch", "--every", every, "--json", place.homeserver.metrics_url]
    # Set where tests run in containers, it would hide a missing flush.
    env = {key: value for key, value in os.environ.items() if key != _UNBUFFERED}
    return subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "synapse_withheld.cli", "status", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@in_reactor
async def test_status_refreshes_until_it_is_interrupted(place: Place) -> None:
    """A line of JSON each time; to be interrupted is its end."""
    process = watching(place, every="1s")
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["seen"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    try:
        _, talk = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (seen, process.returncode, talk) == ([50, 50, 50], 0, "")


@in_reactor
async def test_each_refreshing_is_printed_at_once(place: Place) -> None:
    """Not when a buffer is full, which would take days here."""
    process = watching(place, every="1h")
    assert process.stdout is not None
    # Without a line it would be waited for for ever.
    patience = threading.Timer(PATIENCE_S, process.kill)
    patience.start()
    line = process.stdout.readline()
    patience.cancel()
    process.kill()
    process.communicate()
    assert '"seen": 50' in line


@in_reactor
async def test_explain_takes_the_rows_of_a_mailbox(place: Place) -> None:
    """As the page takes them from PostgreSQL."""

    def rows() -> list[dict[str, Any]]:
        found = place.homeserver.query(
            """
            SELECT user_id, device_id, stream_id, message_json FROM device_inbox
            WHERE user_id = '@bob:withheld.test' ORDER BY stream_id
            """
        )
        columns = ("user_id", "device_id", "stream_id", "message_json")
        return [dict(zip(columns, row)) for row in found]

    # The first notice was superseded, and is deleted in the background.
    await eventually(lambda: len(rows()), 3)
    lines = "\n".join(map(json.dumps, rows()))
    arguments = ("explain", "--json", "-")
    result = command_line(*arguments, directory=place.directory, given=lines)
    reasons = [json.loads(line)["reason"] for line in result.stdout.splitlines()]
    assert reasons == ["olm", "first", "olm"]


def as_on_the_page(text: str, place: Place) -> str:
    """Return an output with the address and the version that the page has."""
    address = address_of(place.homeserver.metrics_url)
    text = text.replace(address, METRICS).replace(__version__, "0.1.0")
    return re.sub(rf"{re.escape(synapse_version())}(?=; tested)", NEWEST, text)


@pytest.mark.parametrize("example", examples(PAGE), ids=lambda each: each.command)
@in_reactor
async def test_the_page_shows_what_a_command_prints(
    place: Place, example: Example
) -> None:
    """Every command of the page, in a shell."""
    block = re.search(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    (place.directory / FILE).write_text(block[1])
    command = addressed(example.command, place.homeserver)
    result = in_shell(command, place.directory)
    assert example.output == as_on_the_page(result.stdout, place)
    assert result.returncode == (1 if "WRONG" in example.output else 0)


def test_the_page_shows_every_command() -> None:
    """None is left out."""
    shown = {each.command.split()[1] for each in examples(PAGE)}
    assert shown == set(commands())

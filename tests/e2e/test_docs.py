"""Every command of the documentation is run, or is known to be run elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import yaml

from synapse_withheld import __version__
from synapse_withheld.cli.__main__ import commands
from synapse_withheld.config import Config, parse
from synapse_withheld.synapse_internals import synapse_version
from tests.harness.commands import (
    METRICS,
    Example,
    address_of,
    addressed,
    blocks,
    examples,
    in_shell,
    program,
    shell_lines,
)
from tests.harness.dashboards import RULES
from tests.harness.messages import ENCRYPTED, make_key, make_notice, make_olm_lookalike
from tests.harness.reactor import async_fixture
from tests.harness.servers.homeserver import Homeserver, rows_of
from tests.harness.servers.stage import Stage, send
from tests.harness.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {file.name: file.read_text() for file in FILES}
# It shows commands with what they print.
PAGE = PAGES["command-line.md"]
NEWEST = "1.163.2"  # the Synapse that it names

ON_A_HOST = {"systemctl reload prometheus"}  # what it does is known
DEBIAN = "/opt/venvs/matrix-synapse/bin/"

# Once each; test_workers.py runs those of its page.
COMMANDS = dict.fromkeys(
    command
    for name, page in PAGES.items()
    if name not in {"command-line.md", "workers.md"}
    for command in shell_lines(page)
)
# Run by test_package.py.
PIP = [each for each in COMMANDS if each.split()[0] in {"pip", f"{DEBIAN}pip"}]
OWN = [each for each in COMMANDS if each.startswith("synapse-withheld ")]
MAKE = [each for each in COMMANDS if each.startswith("make ")]
PROMTOOL = [each for each in COMMANDS if each.startswith("promtool ")]


def test_every_command_is_one_that_is_run() -> None:
    """A new kind of command needs a way to run it here."""
    assert {*COMMANDS} == {*PIP, *OWN, *MAKE, *PROMTOOL, *ON_A_HOST}
    assert all((PIP, OWN, MAKE, PROMTOOL))
    shown = {each.command.split()[1] for each in examples(PAGE)}
    assert shown == set(commands())
    # Those that test are run by CI; the others are benchmarks and demonstrations.
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in MAKE:
        assert {*command.partition(" ARGS=")[0].split()[1:]} <= {*targets}, command


def test_every_block_says_what_it_is() -> None:
    """Commands are `sh` or `console`; else they would not be found."""
    for page in PAGES.values():
        lines = [line for kind, some in blocks(page) if not kind for line in some]
        found = [re.match(r"\$ |make |pip |synapse-withheld ", line) for line in lines]
        assert not any(found)


def test_a_command_of_prometheus_is_right(tmp_path: Path) -> None:
    program("promtool")
    config = {"rule_files": [RULES.name]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / RULES.name).write_text(RULES.read_text())
    for command in PROMTOOL:
        result = in_shell(command, tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_configuration_that_is_shown_is_the_default() -> None:
    """Every key, and what holds where it is left out."""
    page = PAGES["configuration.md"]
    texts = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    configs = [yaml.safe_load(text)["modules"][0]["config"] for text in texts]
    shown = max(configs, key=len)
    assert parse(shown) == Config()
    assert len(shown) == len(attrs.fields(Config))


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
            await send(sender, recipient, make_notice(key, sender.device_id))
        await send(sender, recipient, make_olm_lookalike(key), ENCRYPTED)
    # Copies as from before the module was there.
    text = json.dumps(json.loads(rows_of(homeserver, recipient)[-2]))
    other = await homeserver.register("carol", device_id="TABLET")
    sql = "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json) "
    for stream_id in range(-20, 0):
        row = (other.user_id, other.device_id, stream_id, text)
        homeserver.query(f"{sql} VALUES (?, ?, ?, ?)", row)
    admin = await homeserver.register("admin", admin=True)
    (directory / "token.txt").write_text(admin.access_token + "\n")
    (messages,) = (lines for kind, lines in blocks(PAGE) if kind == "json")
    (directory / "messages.jsonl").write_text("\n".join(messages))
    return homeserver


@pytest.mark.parametrize(
    "example",
    [*examples(PAGE), *(Example(each, "") for each in OWN)],
    ids=lambda each: each.command,
)
async def test_commands_do_what_pages_say(place: Homeserver, example: Example) -> None:
    """It prints what is shown, if that is shown."""
    result = in_shell(addressed(example.command, place), place.log_path.parent)
    address = address_of(place.metrics_url)
    printed = result.stdout.replace(address, METRICS).replace(__version__, "0.1.0")
    newest = rf"{re.escape(synapse_version())}(?=; tested)"
    printed = re.sub(newest, NEWEST, printed)
    assert result.returncode == ("WRONG" in example.output), result.stderr
    assert printed == example.output if example.output else printed


async def test_status_refreshes_until_it_is_interrupted(place: Homeserver) -> None:
    """A line of JSON each time and at once; to be interrupted is its end."""
    arguments = ["--watch", "--every", "1s", "--json", place.metrics_url]
    # It is set where tests run in containers, and would hide a missing flush.
    process = subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "synapse_withheld.cli", "status", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["seen"] for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=PATIENCE_S)
    assert (seen, process.returncode, talk) == ([50, 50], 0, "")

"""Every command of the documentation is run, or is known to be, and nginx's blocks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import AsyncIterator
from urllib.parse import urlsplit

import attrs
import pytest
import treq
import yaml
from pytest_twisted import async_fixture, async_yield_fixture
from twisted.web.http_headers import Headers

from synapse_withheld import __version__
from synapse_withheld.cli.__main__ import commands
from synapse_withheld.config import Config, parse
from synapse_withheld.synapse_internals import synapse_version
from tests.harness.commands import blocks, in_shell, program, run, shell_lines
from tests.harness.dashboards import RULES
from tests.harness.messages import ENCRYPTED, make_key, make_notice, make_olm_lookalike
from tests.harness.process import Process
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.settings import LOOPBACK, reserve
from tests.harness.servers.stage import Stage, send
from tests.harness.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
FILES = ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))
PAGES = {file.name: file.read_text() for file in FILES}
# It shows commands with what they print.
PAGE = PAGES["command-line.md"]
NEWEST = "1.163.2"  # the Synapse that it names
METRICS, CLIENTS = "127.0.0.1:9000", "127.0.0.1:8008"  # and the listeners
# What follows `$` in its `console` blocks, and what the page says that it prints.
EXAMPLES = dict(
    example
    for kind, text in blocks(PAGE)
    if kind == "console"
    for example in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
)

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
    assert {command.split()[1] for command in EXAMPLES} == set(commands())
    # Those that test are run by CI; the others are benchmarks and demonstrations.
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in MAKE:
        assert {*command.partition(" ARGS=")[0].split()[1:]} <= {*targets}, command


def test_every_block_says_what_it_is() -> None:
    """Commands are `sh` or `console`; else they would not be found."""
    ours = re.compile(r"^ *(\$ |make |pip |synapse-withheld )", re.MULTILINE)
    for page in PAGES.values():
        assert not any(ours.search(text) for kind, text in blocks(page) if not kind)


def test_a_command_of_prometheus_is_right(tmp_path: Path) -> None:
    program("promtool")
    config = {"rule_files": [RULES.name]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / RULES.name).write_text(RULES.read_text())
    for command in PROMTOOL:
        run(command, tmp_path)


def test_configurations_that_are_shown_are_right() -> None:
    """The longest has every key, and what holds where it is left out."""
    found = [block for page in PAGES.values() for block in blocks(page)]
    shown = [yaml.safe_load(text) for kind, text in found if kind == "yaml"]
    entries = [each for config in shown for each in config.get("modules", ())]
    parsed = {len(each["config"]): parse(each["config"]) for each in entries}
    assert parsed[len(attrs.fields(Config))] == Config()


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
    text = json.dumps(json.loads(homeserver.texts(recipient)[-2]))
    other = await homeserver.register("carol", device_id="TABLET")
    sql = "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)"
    rows = [(other.user_id, other.device_id, number, text) for number in range(-20, 0)]
    with homeserver.connected() as cursor:
        cursor.executemany(f"{sql} VALUES (?, ?, ?, ?)", rows)
    admin = await homeserver.register("admin", admin=True)
    (directory / "token.txt").write_text(admin.access_token + "\n")
    (messages,) = (text for kind, text in blocks(PAGE) if kind == "json")
    (directory / "messages.jsonl").write_text(messages)
    return homeserver


@pytest.mark.parametrize("command", dict.fromkeys([*EXAMPLES, *OWN]))
async def test_commands_do_what_pages_say(place: Homeserver, command: str) -> None:
    """It prints what is shown, if that is shown."""
    shown, metrics = EXAMPLES.get(command, ""), urlsplit(place.metrics_url).netloc
    command = command.replace(CLIENTS, urlsplit(place.base_url).netloc)
    result = in_shell(command.replace(METRICS, metrics), place.log_path.parent)
    printed = result.stdout.replace(metrics, METRICS).replace(__version__, "0.1.0")
    newest = rf"{re.escape(synapse_version())}(?=; tested)"
    printed = re.sub(newest, NEWEST, printed)
    assert result.returncode == ("WRONG" in shown), result.stderr
    assert printed == shown if shown else printed


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


# The processes of docs/workers.md, by the ports of their listeners there.
PROCESSES = MAIN, WRITER, SYNC, RECEIVER = 8008, 8081, 8082, 8083

# One process in the foreground, with all of its files in its directory. Inside the
# second server is what Synapse's documentation tells reverse proxies to forward.
AROUND = """\
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
access_log off;
client_body_temp_path body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
WORKERS
server {
    listen 81;
    location / { return 200; }
    location ~ ^(/_matrix|/_synapse/client) { proxy_pass http://127.0.0.1:8008; }
    INSTALL
}
"""
# What answers for a process: with the path, and what a proxy adds.
TOLD = "$request_uri $http_host $http_x_forwarded_for $http_x_forwarded_proto"


@async_yield_fixture(scope="module")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[str]]:
    """Run nginx with the blocks of two pages, before what answers for Synapse."""
    config = AROUND
    for page in ("workers", "install"):
        found = (text for kind, text in blocks(PAGES[f"{page}.md"]) if kind == "nginx")
        config = config.replace(page.upper(), "".join(found))
    for port in PROCESSES:
        config += f'server {{ listen {port}; return 200 "{port} {TOLD}"; }}\n'
    shown = [str(port) for port in (80, 81, *PROCESSES)]
    own = [f"{LOOPBACK}:{port}" for port in reserve(len(shown))]
    addresses = dict(zip(shown, own))
    config = re.sub(
        r"(listen |http://)(?:127\.0\.0\.1:)?(\d+)",
        lambda found: found[1] + addresses[found[2]],
        config,
    )
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "nginx.conf").write_text(f"{config}}}")
    nginx = Process(directory, directory / "nginx.log")
    nginx.start(program("nginx"), "-p", ".", "-e", "stderr", "-c", "nginx.conf")
    try:
        await nginx.answer(f"http://{addresses['81']}/")
        yield [f"http://{addresses[each]}" for each in ("80", "81")]
    finally:
        nginx.kill()


@pytest.mark.parametrize(
    ("path", "port"),
    [
        ("/_matrix/client/v3/sendToDevice/m.room.encrypted/t%2F1", WRITER),
        ("/_matrix/client/r0/sendToDevice/m.room_key.withheld/1", WRITER),
        ("/_matrix/client/v3/sync?timeout=30000&since=s1", SYNC),
        ("/_matrix/federation/v1/send/1", RECEIVER),
        ("/_matrix/federation/v2/send_join/!a:b/$c", MAIN),
        ("/_matrix/client/v3/login", MAIN),
        ("/_synapse/client/pick_idp", MAIN),
        # The page stays inside, however its path is written.
        ("/_synapse/client/withheld", None),
        ("/_synapse/client/withheld/", None),
        ("/_synapse/client/withheld/v1/status", None),
        ("/_synapse/client//withheld/v1/top?limit=1", None),
        ("/_synapse/client/%77ithheld/", None),
        ("/_synapse/client/x/../withheld/", None),
    ],
)
async def test_a_request_reaches_the_process_that_answers_it(
    proxy: list[str], path: str, port: int | None
) -> None:
    """As it came, with what Synapse needs to know of who asked."""
    host = "matrix.example.org"
    told = [str(port), path, host, "127.0.0.1", "http"]
    for server in proxy if port is None else proxy[:1]:
        response = await treq.get(server + path, headers=Headers({"Host": [host]}))
        assert response.code == (200 if port else 404)
        assert (await treq.text_content(response)).split() == told or not port

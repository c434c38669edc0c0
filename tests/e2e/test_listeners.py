"""Every form of listener that Synapse documents, found by `check` and `status`.

One Synapse listens on all of them; the files that the commands read name one each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import run
from typing import Any, AsyncIterator

import attrs
import pytest
import yaml

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.arguments import TOKEN
from tests.harness.client import Client
from tests.harness.process import Process, ready
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.servers.homeserver import READY_WITHIN_S, Homeserver
from tests.harness.servers.settings import reserve, self_signed
from tests.harness.servers.stage import Stage, two_on

README = (Path(__file__).parents[2] / "README.md").read_text()
SYNAPSE = ("-m", "synapse.app.homeserver")
EVERYWHERE = "0.0.0.0"  # noqa: S104 of a test
BOTH = ["::1", "127.0.0.1"]
# As `--generate-config` writes it, but for the port: without metrics.
GENERATED = {
    "type": "http",
    "tls": False,
    "x_forwarded": True,
    "bind_addresses": BOTH,
    "resources": [{"names": ["client", "federation"], "compress": False}],
}
METRICS: dict[str, Any] = {"type": "metrics"}
HTTP: dict[str, Any] = {"type": "http", "resources": [{"names": ["metrics"]}]}
# A path of a socket may have no more than about a hundred characters.
SOCKETS = Path(tempfile.gettempdir()) / f"withheld-{os.getpid()}"

# What tells metrics, without ports.
FORMS: dict[str, dict[str, Any]] = {
    "metrics": {**METRICS, "bind_addresses": ["127.0.0.1"]},
    "metrics, IPv6 first": {**METRICS, "bind_addresses": BOTH},
    "metrics, IPv6 alone": {**METRICS, "bind_addresses": ["::1"]},
    "metrics, both keys": {
        **METRICS,
        "bind_addresses": ["::1"],
        "bind_address": "127.0.0.1",
    },
    "metrics, everywhere": {**METRICS, "bind_addresses": [EVERYWHERE]},
    "metrics, IPv6 everywhere": {**METRICS, "bind_addresses": ["::"]},
    "metrics, a name": {**METRICS, "bind_addresses": ["localhost"]},
    "metrics, nothing said": METRICS,
    "metrics, empty resources": {**METRICS, "resources": None},
    "http": HTTP,
    "http, IPv6 alone": {**HTTP, "bind_address": "::1"},
    "http, everywhere": {**HTTP, "bind_addresses": ["::", EVERYWHERE]},
    "http, generated": {**GENERATED, "resources": [{"names": ["client", "metrics"]}]},
    "http, TLS": {**HTTP, "bind_addresses": BOTH, "tls": True},
    "socket": {**HTTP, "path": str(SOCKETS / "metrics.sock"), "mode": 0o600},
}


@attrs.frozen
class Place:
    """A homeserver, its admin, its configuration, and its listeners by name."""

    homeserver: Homeserver
    admin: Client
    config: dict[str, Any]
    listeners: dict[str, dict[str, Any]]

    @property
    def token_file(self) -> str:
        return str(self.homeserver.log_path.with_name("token.txt"))

    def file(self, *listeners: dict[str, Any], **more: Any) -> str:
        """Write a file with other listeners and keys, or without those of `None`."""
        config = {**self.config, "listeners": [*listeners], **more}
        config = {key: value for key, value in config.items() if value is not None}
        path = self.homeserver.log_path.with_name("one.yaml")
        path.write_text(yaml.safe_dump(config))
        return str(path)


def command(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its code, its output and its errors.

    Another process would take a second, and Synapse has its own.
    """
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, output.getvalue(), errors.getvalue()


def check(file: str, *more: str) -> tuple[int, Any, dict[str, str]]:
    """Run `check`; return its code, what it found by question, and what is wrong."""
    code, output, errors = command("check", "--json", "-c", file, *more)
    assert errors == ""
    data = json.loads(output)
    found = {each["question"]: each for each in data["findings"]}
    wrong = {name: each["state"] for name, each in found.items()}
    wrong = {name: state for name, state in wrong.items() if state != "ok"}
    return code, {**found, "acting": data["acting"]}, wrong


@async_yield_fixture(scope="module")
async def place(stage: Stage) -> AsyncIterator[Place]:
    SOCKETS.mkdir(mode=0o700)
    site = stage.site()
    site.directory.mkdir(exist_ok=True)
    listeners = {"generated": {**GENERATED}, **FORMS}
    for name, port in zip(listeners, reserve(len(listeners))):
        if "path" not in listeners[name]:
            listeners[name] = {**listeners[name], "port": port}
    certificate = self_signed().configuration(site.directory)
    config = {**certificate, "listeners": [*listeners.values()]}
    homeserver = await stage.start({}, config, site)
    two = await two_on(homeserver)
    for _ in range(3):
        await two.send(two.notice())
    written = yaml.safe_load((site.directory / "homeserver.yaml").read_text())
    admin = await homeserver.register("admin", admin=True)
    place = Place(homeserver, admin, written, listeners)
    Path(place.token_file).write_text(admin.access_token)
    try:
        yield place
    finally:
        shutil.rmtree(SOCKETS)


@pytest.mark.parametrize("name", FORMS)
@in_reactor
async def test_every_listener_is_found(place: Place, name: str) -> None:
    file = place.file(place.listeners["generated"], place.listeners[name])
    code, found, wrong = check(file)
    assert (0, {}, True) == (code, wrong, found["acting"])
    code, output, errors = command("status", "--json", "-c", file)
    assert (0, 3, "") == (code, json.loads(output)["seen"], errors)


@in_reactor
async def test_all_addresses_are_tried(place: Place) -> None:
    """Where the first cannot be reached from here, or belongs to somebody else."""
    answers = place.listeners["metrics"]
    hosts = ["::1", "127.0.0.2", "127.0.0.1"]
    code, found, wrong = check(place.file({**answers, "bind_addresses": hosts}))
    assert (0, {}) == (code, wrong)
    assert f"http://127.0.0.1:{answers['port']}" in found["metrics"]["found"]

    # Another program answers at the first, without any metrics.
    other = {**answers, "port": place.listeners["generated"]["port"]}
    code, _, wrong = check(place.file(other, answers))
    assert (0, {}) == (code, wrong)

    nobody = {**answers, "bind_addresses": ["127.0.0.2", "127.0.0.3"]}
    code, found, _ = check(place.file(nobody))
    assert 1 == code
    for host in nobody["bind_addresses"]:
        assert f"http://{host}:" in found["metrics"]["found"]


@in_reactor
async def test_without_metrics_there_is_a_note(place: Place) -> None:
    """As `--generate-config` leaves it; that the module is loaded is seen anyway."""
    file = place.file(place.listeners["generated"], enable_metrics=None)
    code, found, wrong = check(file)
    unknown = {"active": "unknown", "failures": "unknown"}
    assert (0, {"metrics": "note", **unknown}) == (code, wrong)
    assert found["acting"] is None
    assert "the module's page answers at http://[::1]:" in found["loaded"]["found"]
    assert "--token-file" in found["metrics"]["do"]
    code, output, errors = command("status", "-c", file)
    assert (2, "") == (code, output)
    assert "run 'check' with --token-file" in errors


@pytest.mark.parametrize("name", ["generated", "socket", "http, TLS"])
@in_reactor
async def test_with_a_token_the_page_is_asked_instead(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.file(place.listeners[name], enable_metrics=None)
    answer = check(file, "--token-file", place.token_file)
    code, found, wrong = answer
    assert (0, {"metrics": "note"}) == (code, wrong)
    assert "--token-file" not in found["metrics"]["do"]
    assert found["acting"] is True
    assert "1; 3 notices seen, 2 collapsed" == found["active"]["found"]
    assert "0" == found["failures"]["found"]

    monkeypatch.setenv(TOKEN, place.admin.access_token)
    assert answer == check(file)


@in_reactor
async def test_status_says_which_process_tells_nothing(place: Place) -> None:
    """With what to do; the others are added up."""
    told = place.listeners["metrics, IPv6 alone"]
    file = place.file(told, stream_writers={"to_device": "w1"})
    worker = Path(file).with_name("w1.yaml")
    worker.write_text(yaml.safe_dump({"worker_name": "w1"}))
    for more, said in (
        ((), "w1: the files do not tell of w1, which writes"),
        (("-c", str(worker)), "w1: no listener under 'worker_listeners' tells metrics"),
    ):
        code, output, errors = command("status", "--json", "-c", file, *more)
        assert (1, 1) == (code, json.loads(output)["processes"])
        assert said in errors


@in_reactor
async def test_what_synapse_generates_is_all_right(tmp_path: Path) -> None:
    """With the README's lines; the first command that anybody runs."""
    generate = ["--generate-config", "--server-name", "withheld.test"]
    generate += ["--report-stats", "no", "-c", "homeserver.yaml"]
    run([sys.executable, *SYNAPSE, *generate], cwd=tmp_path, check=True)  # noqa: S603
    file = tmp_path / "homeserver.yaml"
    config = yaml.safe_load(file.read_text())
    (listener,) = config["listeners"]
    assert {**GENERATED, "port": 8008} == listener
    block = re.search(r"^```yaml\n(modules:.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    (listener["port"],) = reserve(1)
    file.write_text(yaml.safe_dump({**config, **yaml.safe_load(block[1])}))
    process = Process(tmp_path, tmp_path / "output.log")
    process.start(sys.executable, *SYNAPSE, "-c", "homeserver.yaml")
    try:
        url = f"http://127.0.0.1:{listener['port']}/health"
        assert await ready(process, url, READY_WITHIN_S)
        code, output, errors = command("check", "-c", str(file))
    finally:
        await process.end()
    assert (0, "") == (code, errors)
    lines = {line[7:].split()[0]: line for line in output.splitlines()}
    assert lines["metrics"].startswith("note ")
    assert lines["loaded"].startswith("ok ")

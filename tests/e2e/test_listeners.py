"""Every form of listener that Synapse documents, found by `check` and `status`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, AsyncIterator

import attrs
import pytest
import yaml

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.arguments import TOKEN
from tests.harness.commands import run
from tests.harness.reactor import async_yield_fixture
from tests.harness.servers.settings import reserve, self_signed
from tests.harness.servers.stage import MODULE, Stage, two_on

README = (Path(__file__).parents[2] / "README.md").read_text()
# As `--generate-config` writes it, but for the port: without metrics.
GENERATED = {
    "type": "http",
    "tls": False,
    "x_forwarded": True,
    "bind_addresses": ["::1", "127.0.0.1"],
    "resources": [{"names": ["client", "federation"], "compress": False}],
}
# A path of a socket may have no more than about a hundred characters.
SOCKETS = Path(tempfile.gettempdir()) / f"withheld-{os.getpid()}"

# What tells metrics, without ports.
FORMS: dict[str, dict[str, Any]] = yaml.safe_load("""
metrics: {type: metrics, bind_addresses: [127.0.0.1]}
metrics, IPv6 first: {type: metrics, bind_addresses: ['::1', 127.0.0.1]}
metrics, IPv6 alone: {type: metrics, bind_addresses: ['::1']}
metrics, both keys: {type: metrics, bind_addresses: ['::1'], bind_address: 127.0.0.1}
metrics, everywhere: {type: metrics, bind_addresses: [0.0.0.0]}
metrics, IPv6 everywhere: {type: metrics, bind_addresses: ['::']}
metrics, a name: {type: metrics, bind_addresses: [localhost]}
metrics, nothing said: {type: metrics}
metrics, empty resources: {type: metrics, resources: }
http: {type: http, resources: &told [names: [metrics]]}
http, IPv6 alone: {type: http, resources: *told, bind_address: '::1', x_forwarded: true}
http, everywhere: {type: http, resources: *told, bind_addresses: ['::', 0.0.0.0]}
http, TLS: {type: http, tls: true, resources: *told, bind_addresses: ['::1', 127.0.0.1]}
http, beside clients: {type: http, resources: [names: [client, metrics]]}
socket: {type: http, resources: *told}
""")
FORMS["socket"].update(path=str(SOCKETS / "metrics.sock"), mode=0o600)


@attrs.frozen
class Place:
    """The configuration of a Synapse, its listeners by name, and an admin's token."""

    directory: Path
    config: dict[str, Any]
    listeners: dict[str, dict[str, Any]]
    token: str

    def file(self, *listeners: dict[str, Any], **more: Any) -> str:
        """Write a file with other listeners and keys, or without those of `None`."""
        config = {**self.config, "listeners": [*listeners], **more}
        config = {key: value for key, value in config.items() if value is not None}
        path = self.directory / "one.yaml"
        path.write_text(yaml.safe_dump(config))
        return str(path)


def command(name: str, file: str, *more: str) -> tuple[int, Any, str]:
    """Run a command in this process; return its code, its JSON and its errors."""
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
        code = main((name, "--json", "-c", file, *more))
    return code, json.loads(output.getvalue() or "null"), errors.getvalue()


def check(file: str, *more: str) -> tuple[int, Any, dict[str, str]]:
    """Run `check`; return its code, what it found by question, and what is wrong."""
    code, data, errors = command("check", file, *more)
    assert errors == ""
    found = {each["question"]: each for each in data["findings"]}
    states = {name: each["state"] for name, each in found.items()}
    wrong = {name: state for name, state in states.items() if state != "ok"}
    return code, {**found, "acting": data["acting"]}, wrong


@async_yield_fixture(scope="module")
async def place(stage: Stage) -> AsyncIterator[Place]:
    """Run a Synapse that listens on all; the files for the commands name one each."""
    SOCKETS.mkdir(mode=0o700)
    site = stage.site()
    listeners = {"generated": {**GENERATED}, **FORMS}
    for name, port in zip(listeners, reserve(len(listeners))):
        if "path" not in listeners[name]:
            listeners[name] = {**listeners[name], "port": port}
    certificate = self_signed().configuration(site.directory)
    config = {**certificate, "listeners": [*listeners.values()]}
    # As the README says, at first and when its numbers were seen.
    lines = README.partition("\nmodules:\n")[2].partition("```")[0]
    (entry,) = yaml.safe_load(lines)
    assert MODULE == entry["module"]
    homeserver = await stage.start({**entry["config"], "mode": "enforce"}, config, site)
    two = await two_on(homeserver)
    for _ in range(3):
        await two.send(two.notice())
    written = yaml.safe_load((site.directory / "homeserver.yaml").read_text())
    admin = await homeserver.register("admin", admin=True)
    yield Place(site.directory, written, listeners, admin.access_token)
    shutil.rmtree(SOCKETS)


@pytest.mark.parametrize("name", FORMS)
async def test_every_listener_is_found(place: Place, name: str) -> None:
    file = place.file(place.listeners["generated"], place.listeners[name])
    code, found, wrong = check(file)
    assert (0, {}, True) == (code, wrong, found["acting"])
    code, numbers, errors = command("status", file)
    assert (0, 3, "") == (code, numbers["seen"], errors)


async def test_all_addresses_are_tried(place: Place) -> None:
    """Where the first cannot be reached from here, or belongs to somebody else."""
    answers = place.listeners["metrics"]
    port = answers["port"]
    # Another program answers at the other's port, without any metrics.
    other = {**answers, "port": place.listeners["generated"]["port"]}
    hosts = ["::1", "127.0.0.2", "127.0.0.1"]
    for listeners in ([{**answers, "bind_addresses": hosts}], [other, answers]):
        code, found, wrong = check(place.file(*listeners))
        assert (0, {}) == (code, wrong)
        assert f"http://127.0.0.1:{port}" in found["metrics"]["found"]

    code, found, _ = check(place.file({**answers, "bind_addresses": hosts[:2]}))
    assert 1 == code
    for host in ("[::1]", "127.0.0.2"):
        assert f"http://{host}:{port}" in found["metrics"]["found"]


@pytest.mark.parametrize("name", ["generated", "socket", "http, TLS"])
async def test_without_metrics_the_page_is_asked_with_a_token(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `--generate-config` leaves it; that the module is loaded is seen anyway."""
    file = place.file(place.listeners[name], enable_metrics=None)
    code, found, wrong = check(file)
    unknown = {"active": "unknown", "failures": "unknown"}
    assert (0, {"metrics": "note", **unknown}) == (code, wrong)
    assert found["acting"] is None
    assert "the module's page answers at http" in found["loaded"]["found"]
    assert "--token-file" in found["metrics"]["do"]
    code, numbers, errors = command("status", file)
    assert (2, None) == (code, numbers)
    assert "run 'check' with --token-file" in errors

    token_file = place.directory / "token.txt"
    token_file.write_text(place.token)
    answer = check(file, "--token-file", str(token_file))
    code, found, wrong = answer
    assert (0, {"metrics": "note"}, True) == (code, wrong, found["acting"])
    assert "--token-file" not in found["metrics"]["do"]
    assert "1; 3 notices seen, 2 collapsed" == found["active"]["found"]
    assert "0" == found["failures"]["found"]
    monkeypatch.setenv(TOKEN, place.token)
    assert answer == check(file)


async def test_status_says_which_process_tells_nothing(place: Place) -> None:
    """With what to do; the others are added up."""
    told = place.listeners["metrics, IPv6 alone"]
    file = place.file(told, stream_writers={"to_device": "w1"})
    code, numbers, errors = command("status", file)
    assert (1, 1) == (code, numbers["processes"])
    assert "w1: the files do not tell of w1, which writes" in errors


def test_what_synapse_generates_is_one_of_them(tmp_path: Path) -> None:
    """Without metrics, as above; `check` is the first command that anybody runs."""
    generate = ["--generate-config", "--server-name", "withheld.test"]
    generate += ["--report-stats", "no", "-c", "homeserver.yaml"]
    run(sys.executable, "-m", "synapse.app.homeserver", *generate, directory=tmp_path)
    config = yaml.safe_load((tmp_path / "homeserver.yaml").read_text())
    assert [{**GENERATED, "port": 8008}] == config["listeners"]
    assert "enable_metrics" not in config

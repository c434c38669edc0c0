"""Every form of listener that Synapse documents, found by `check` and `status`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from pytest_twisted import async_fixture

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.arguments import TOKEN
from tests.harness.commands import run
from tests.harness.servers.settings import over_tls, reserve
from tests.harness.servers.stage import Stage, two_on

# As `--generate-config` writes it, but for the port: without metrics.
GENERATED = {
    "type": "http",
    "tls": False,
    "x_forwarded": True,
    "bind_addresses": ["::1", "127.0.0.1"],
    "resources": [{"names": ["client", "federation"], "compress": False}],
}
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
socket: {type: http, resources: *told, path: metrics.sock, mode: 0600}
""")


class Place(NamedTuple):
    """The configuration of a Synapse, its listeners by name, and an admin's token."""

    directory: Path
    config: dict[str, Any]
    listeners: dict[str, dict[str, Any]]
    token: str

    def ask(self, command: str, *listeners: Any, **more: Any) -> tuple[int, Any, str]:
        """Run a command on a file with other keys; return code, JSON and errors."""
        file = self.directory / "one.yaml"
        config = {**self.config, "listeners": [*listeners], **more}
        file.write_text(yaml.safe_dump(config))
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
            code = main((command, "--json", "-c", str(file)))
        return code, json.loads(out.getvalue() or "null"), errors.getvalue()

    def check(self, *listeners: Any, **more: Any) -> tuple[int, Any, dict[str, str]]:
        """Return its code, what it found by question, and what is not as it should."""
        code, data, errors = self.ask("check", *listeners, **more)
        assert errors == ""
        found = {each["question"]: each for each in data["findings"]}
        states = {name: each["state"] for name, each in found.items()}
        wrong = {name: state for name, state in states.items() if state != "ok"}
        return code, {**found, "acting": data["acting"]}, wrong


@async_fixture(scope="module")
async def place(stage: Stage) -> Place:
    """Run a Synapse that listens on all; the files for the commands name one each."""
    site = stage.site()
    forms = {"generated": GENERATED, **FORMS}
    listeners = {
        name: {**form, "path": str(site.directory / form["path"])}
        if "path" in form
        else {**form, "port": port}
        for (name, form), port in zip(forms.items(), reserve(len(forms)))
    }
    config = {**over_tls(site.directory), "listeners": [*listeners.values()]}
    homeserver = await stage.start({}, config, site)
    two = await two_on(homeserver)
    for _ in range(3):
        await two.send(two.notice())
    written = yaml.safe_load((site.directory / "homeserver.yaml").read_text())
    admin = await homeserver.register("admin", admin=True)
    return Place(site.directory, written, listeners, admin.access_token)


@pytest.mark.parametrize("name", FORMS)
async def test_every_listener_is_found(place: Place, name: str) -> None:
    listeners = [place.listeners["generated"], place.listeners[name]]
    code, found, wrong = place.check(*listeners)
    assert (0, {}, True) == (code, wrong, found["acting"])
    code, numbers, errors = place.ask("status", *listeners)
    assert (0, 3, "") == (code, numbers["seen"], errors)


async def test_all_addresses_are_tried(place: Place) -> None:
    """Where the first cannot be reached from here, or belongs to somebody else."""
    answers = place.listeners["metrics"]
    port = answers["port"]
    # Another program answers at the other's port, without any metrics.
    other = {**answers, "port": place.listeners["generated"]["port"]}
    hosts = ["::1", "127.0.0.2", "127.0.0.1"]
    for listeners in ([{**answers, "bind_addresses": hosts}], [other, answers]):
        code, found, wrong = place.check(*listeners)
        assert (0, {}) == (code, wrong)
        assert f"http://127.0.0.1:{port}" in found["metrics"]["found"]

    code, found, _ = place.check({**answers, "bind_addresses": hosts[:2]})
    assert 1 == code
    for host in ("[::1]", "127.0.0.2"):
        assert f"http://{host}:{port}" in found["metrics"]["found"]


@pytest.mark.parametrize("name", ["generated", "socket", "http, TLS"])
async def test_without_metrics_the_page_is_asked_with_a_token(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `--generate-config` leaves it; that the module is loaded is seen anyway."""
    listener, off = place.listeners[name], {"enable_metrics": None}
    code, found, wrong = place.check(listener, **off)
    unknown = {"active": "unknown", "failures": "unknown"}
    assert (0, {"metrics": "note", **unknown}) == (code, wrong)
    assert found["acting"] is None
    assert "the module's page answers at http" in found["loaded"]["found"]
    assert "--token-file" in found["metrics"]["do"]
    code, numbers, errors = place.ask("status", listener, **off)
    assert (2, None) == (code, numbers)
    assert "run 'check' with --token-file" in errors

    monkeypatch.setenv(TOKEN, place.token)
    code, found, wrong = place.check(listener, **off)
    assert (0, {"metrics": "note"}, True) == (code, wrong, found["acting"])
    assert "--token-file" not in found["metrics"]["do"]
    assert "1; 3 notices seen, 2 collapsed" == found["active"]["found"]
    assert "0" == found["failures"]["found"]


async def test_status_says_which_process_tells_nothing(place: Place) -> None:
    """With what to do; the others are added up."""
    told, named = place.listeners["metrics, IPv6 alone"], {"to_device": "w1"}
    code, numbers, errors = place.ask("status", told, stream_writers=named)
    assert (1, 1) == (code, numbers["processes"])
    assert "w1: the files do not tell of w1, which writes" in errors


def test_what_synapse_generates_is_one_of_them(tmp_path: Path) -> None:
    """Without metrics, as above; `check` is the first command that anybody runs."""
    generate = "-m synapse.app.homeserver --generate-config --report-stats no"
    options = "--server-name withheld.test -c homeserver.yaml"
    run(f"{sys.executable} {generate} {options}", tmp_path)
    config = yaml.safe_load((tmp_path / "homeserver.yaml").read_text())
    assert [{**GENERATED, "port": 8008}] == config["listeners"]
    assert "enable_metrics" not in config

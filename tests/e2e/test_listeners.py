"""Every form of listener that Synapse documents, found by `check` and `status`.

One Synapse listens on all of them; the files that the commands read name one each.
"""

from __future__ import annotations

import json
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
from synapse_withheld.cli.shared.homeserver.token import TOKEN
from tests.harness.client import Client
from tests.harness.process import Process, ready
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.servers.homeserver import READY_WITHIN_S, Homeserver
from tests.harness.servers.settings import free, self_signed
from tests.harness.servers.stage import Stage, two_on

README = (Path(__file__).parents[2] / "README.md").read_text()
SYNAPSE = ("-m", "synapse.app.homeserver")
EVERYWHERE = "0.0.0.0"  # noqa: S104 of a test
# As `--generate-config` writes it, but for the port.
GENERATED = {
    "type": "http",
    "tls": False,
    "x_forwarded": True,
    "bind_addresses": ["::1", "127.0.0.1"],
    "resources": [{"names": ["client", "federation"], "compress": False}],
}
WITH_METRICS = [{"names": ["client", "metrics"], "compress": True}]


def metrics(*addresses: str, **more: Any) -> dict[str, Any]:
    said = {"bind_addresses": list(addresses)} if addresses else {}
    return {"type": "metrics", **said, **more}


def http(*addresses: str, **more: Any) -> dict[str, Any]:
    """Return a listener for HTTP that tells metrics, too."""
    resources = [{"names": ["metrics"]}]
    return metrics(*addresses, type="http", **{"resources": resources, **more})


def forms(sockets: Path) -> dict[str, dict[str, Any]]:
    """Return listeners that tell metrics, by name, without their ports."""
    both = ("::1", "127.0.0.1")
    mode = {"path": str(sockets / "mode.sock"), "mode": 0o600}
    return {
        "metrics": metrics("127.0.0.1"),
        "metrics, IPv6 first": metrics(*both),
        "metrics, IPv6 last": metrics(*reversed(both)),
        "metrics, IPv6 alone": metrics("::1"),
        "metrics, one address": metrics(bind_address="127.0.0.1"),
        "metrics, both keys": metrics("::1", bind_address="127.0.0.1"),
        "metrics, everywhere": metrics(EVERYWHERE),
        "metrics, IPv6 everywhere": metrics("::"),
        "metrics, a name": metrics("localhost"),
        "metrics, nothing said": metrics(),
        "metrics, empty resources": metrics(resources=None),
        "http": http(),
        "http, IPv6 first": http(*both),
        "http, IPv6 alone": http(bind_address="::1"),
        "http, everywhere": http("::", EVERYWHERE),
        "http, generated": {**GENERATED, "resources": WITH_METRICS},
        "http, TLS": http("127.0.0.1", tls=True),
        "http, TLS, IPv6 first": http(*both, tls=True, x_forwarded=True),
        "socket": http(path=str(sockets / "metrics.sock")),
        "socket, mode": http(**{**mode, "resources": WITH_METRICS}),
    }


@attrs.frozen
class Place:
    """A homeserver, its admin, its configuration, and its listeners by name."""

    homeserver: Homeserver
    admin: Client
    config: dict[str, Any]
    listeners: dict[str, dict[str, Any]]
    generated: dict[str, Any]

    @property
    def directory(self) -> Path:
        return self.homeserver.log_path.parent

    def file(self, *listeners: dict[str, Any], **more: Any) -> str:
        """Write a file with other listeners and keys, or without those of `None`."""
        config = {**self.config, "listeners": [*listeners], **more}
        config = {key: value for key, value in config.items() if value is not None}
        path = self.directory / "one.yaml"
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def check(self, file: str, *more: str) -> tuple[int, Any, dict[str, str]]:
        """Run `check`; return its code, what it found by question, and what is wrong.

        In this process: another would take a second, and Synapse has its own.
        """
        code, output, errors = command("check", "--json", "-c", file, *more)
        assert errors == ""
        data = json.loads(output)
        found = {each["question"]: each for each in data["findings"]}
        states = {name: each["state"] for name, each in found.items()}
        wrong = {name: state for name, state in states.items() if state != "ok"}
        return code, {**found, "acting": data["acting"]}, wrong


def command(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its code, its output and its errors."""
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, output.getvalue(), errors.getvalue()


@async_yield_fixture(scope="module")
async def place(stage: Stage) -> AsyncIterator[Place]:
    # A path of a socket may have no more than about a hundred characters.
    sockets = Path(tempfile.mkdtemp(prefix="withheld"))
    site = stage.site()
    site.directory.mkdir(exist_ok=True)
    listeners = forms(sockets)
    generated = {**GENERATED}
    on_ports = [each for each in listeners.values() if "path" not in each] + [generated]
    for each, port in zip(on_ports, free(len(on_ports))):
        each["port"] = port
    config = {
        **self_signed().configuration(site.directory),
        "listeners": [*listeners.values(), generated],
    }
    homeserver = await stage.start({}, config, site)
    two = await two_on(homeserver)
    for _ in range(3):
        await two.send(two.notice())
    written = yaml.safe_load((site.directory / "homeserver.yaml").read_text())
    admin = await homeserver.register("admin", admin=True)
    (site.directory / "token.txt").write_text(admin.access_token)
    (site.directory / "other.txt").write_text(two.sender.access_token)
    try:
        yield Place(homeserver, admin, written, listeners, generated)
    finally:
        shutil.rmtree(sockets)


@pytest.mark.parametrize("name", forms(Path()))
@in_reactor
async def test_every_listener_is_found(place: Place, name: str) -> None:
    file = place.file(place.generated, place.listeners[name])
    code, found, wrong = place.check(file)
    assert (0, {}, True) == (code, wrong, found["acting"])
    code, output, errors = command("status", "--json", "-c", file)
    assert (0, 3, "") == (code, json.loads(output)["seen"], errors)


@in_reactor
async def test_all_addresses_are_tried(place: Place) -> None:
    """Where the first cannot be reached from here, or belongs to somebody else."""
    answers = place.listeners["metrics"]
    hosts = ["::1", "127.0.0.2", "127.0.0.1"]
    code, found, wrong = place.check(place.file({**answers, "bind_addresses": hosts}))
    assert (0, {}) == (code, wrong)
    assert f"http://127.0.0.1:{answers['port']}" in found["metrics"]["found"]

    # Another program answers at the first, without any metrics.
    other = {**answers, "port": place.generated["port"]}
    code, _, wrong = place.check(place.file(other, answers))
    assert (0, {}) == (code, wrong)

    nobody = {**answers, "bind_addresses": ["127.0.0.2", "127.0.0.3"]}
    code, found, _ = place.check(place.file(nobody))
    assert 1 == code
    for host in nobody["bind_addresses"]:
        assert f"http://{host}:" in found["metrics"]["found"]


@in_reactor
async def test_without_metrics_there_is_a_note(place: Place) -> None:
    """As `--generate-config` leaves it; that the module is loaded is seen anyway."""
    file = place.file(place.generated, enable_metrics=None)
    code, found, wrong = place.check(file)
    unknown = {"active": "unknown", "failures": "unknown"}
    assert (0, {"metrics": "note", **unknown}) == (code, wrong)
    assert found["acting"] is None
    assert "the module's page answers at http://[::1]:" in found["loaded"]["found"]
    assert "--token-file" in found["metrics"]["do"]


@pytest.mark.parametrize("name", [None, "socket", "http, TLS", "http, IPv6 alone"])
@in_reactor
async def test_with_a_token_the_page_is_asked_instead(
    place: Place, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = place.listeners[name] if name else place.generated
    file = place.file(listener, enable_metrics=None)
    answer = place.check(file, "--token-file", str(place.directory / "token.txt"))
    code, found, wrong = answer
    assert (0, {"metrics": "note"}) == (code, wrong)
    assert "--token-file" not in found["metrics"]["do"]
    assert found["acting"] is True
    assert "1; 3 notices seen, 2 collapsed" == found["active"]["found"]
    assert "0" == found["failures"]["found"]

    monkeypatch.setenv(TOKEN, place.admin.access_token)
    assert answer == place.check(file)


@in_reactor
async def test_where_synapse_does_not_run_that_is_wrong(place: Place) -> None:
    (port,) = free(1)
    file = place.file({**GENERATED, "port": port}, enable_metrics=None)
    for more in ((), ("--token-file", str(place.directory / "token.txt"))):
        code, found, _ = place.check(file, *more)
        assert (1, False) == (code, found["acting"])
        assert "start Synapse" in found["loaded"]["do"]
        for host in ("[::1]", "127.0.0.1"):
            assert f"http://{host}:{port}" in found["loaded"]["found"]


@in_reactor
async def test_status_says_which_process_tells_nothing(place: Place) -> None:
    """With what to do; the others are added up."""
    told = place.listeners["metrics, IPv6 alone"]
    file = place.file(told, stream_writers={"to_device": "w1"})
    worker = place.directory / "w1.yaml"
    worker.write_text(yaml.safe_dump({"worker_name": "w1"}))
    for more, said in (
        ((), "w1: it writes to-device messages; add -c with its file"),
        (("-c", str(worker)), "w1: no listener under 'worker_listeners' tells metrics"),
    ):
        code, output, errors = command("status", "--json", "-c", file, *more)
        assert (1, 1) == (code, json.loads(output)["processes"])
        assert said in errors
    code, output, errors = command("status", "-c", place.file(place.generated))
    assert (2, "") == (code, output)
    assert "set 'enable_metrics: true'" in errors
    assert "run 'check' with --token-file" in errors


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
    (listener["port"],) = free(1)
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

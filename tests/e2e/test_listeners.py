"""Every form of listener that Synapse documents, found by `check` and `status`.

One Synapse listens on all of them; the files that the commands read name one each.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, AsyncIterator

import attrs
import pytest
import yaml

from synapse_withheld.cli.shared.homeserver.listeners import metrics_addresses
from synapse_withheld.cli.shared.homeserver.token import TOKEN
from tests.harness.homeservers.certificate import self_signed
from tests.harness.homeservers.homeserver import READY_WITHIN_S
from tests.harness.homeservers.settings import free
from tests.harness.homeservers.stage import Stage, two_on
from tests.harness.processes.commands import check, command_line
from tests.harness.processes.process import Process, ready
from tests.harness.reactor import async_yield_fixture, in_reactor

if TYPE_CHECKING:
    from tests.harness.clients.matrix import Client
    from tests.harness.homeservers.homeserver import Homeserver

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
    """Return a listener for metrics alone."""
    return {"type": "metrics", **on(addresses), **more}


def http(*addresses: str, **more: Any) -> dict[str, Any]:
    """Return a listener for HTTP that tells metrics, too."""
    resources = [{"names": ["metrics"]}]
    return {"type": "http", "resources": resources, **on(addresses), **more}


def on(addresses: tuple[str, ...]) -> dict[str, Any]:
    """Return where a listener is said to listen, if that is said."""
    return {"bind_addresses": list(addresses)} if addresses else {}


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


NAMES = tuple(forms(Path()))


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
        """Return where the files are."""
        return self.homeserver.log_path.parent

    def file(self, **more: Any) -> str:
        """Write a file with other keys, or without those of `None`; return its name."""
        config = {**self.config, **more}
        config = {key: value for key, value in config.items() if value is not None}
        (self.directory / "one.yaml").write_text(yaml.safe_dump(config))
        return "one.yaml"

    def check(self, file: str, *more: str) -> tuple[int, Any]:
        """Run `check`; return its exit code and what it found, by question."""
        return check("-c", file, *more, directory=self.directory)

    def seen(self, file: str) -> Any:
        """Run `status`; return how many notices it has seen."""
        arguments = ("status", "--json", "-c", file)
        result = command_line(*arguments, directory=self.directory)
        assert (0, "") == (result.returncode, result.stderr)
        return json.loads(result.stdout)["seen"]


@async_yield_fixture(scope="module")
async def place(stage: Stage) -> AsyncIterator[Place]:
    """Run a Synapse that listens on everything."""
    # A path of a socket may have no more than about a hundred characters.
    sockets = Path(tempfile.mkdtemp(prefix="withheld"))
    site = stage.site()
    certificate = self_signed()
    site.directory.mkdir(exist_ok=True)
    paths = {}
    for name, text in (("crt", certificate.certificate), ("key", certificate.key)):
        path = site.directory / f"tls.{name}"
        path.write_bytes(text)
        paths[name] = str(path)
    listeners = forms(sockets)
    on_ports = [each for each in listeners.values() if "path" not in each]
    *ports, generated, old = free(len(on_ports) + 2)
    for each, port in zip(on_ports, ports):
        each["port"] = port
    entry = {**GENERATED, "port": generated}
    config = {
        "tls_certificate_path": paths["crt"],
        "tls_private_key_path": paths["key"],
        "metrics_port": old,
        "listeners": [*listeners.values(), entry],
    }
    homeserver = await stage.start({}, config, site)
    two = await two_on(homeserver)
    for _ in range(3):
        await two.send(two.notice())
    written = yaml.safe_load((site.directory / "homeserver.yaml").read_text())
    admin = await homeserver.register("admin", admin=True)
    (site.directory / "token.txt").write_text(admin.access_token)
    (site.directory / "other.txt").write_text(two.sender.access_token)
    without = {key: value for key, value in written.items() if key != "metrics_port"}
    try:
        yield Place(homeserver, admin, without, listeners, entry)
    finally:
        shutil.rmtree(sockets)


def states(found: dict[str, Any]) -> dict[str, str]:
    """Return what is not right."""
    return {
        name: each["state"]
        for name, each in found.items()
        if name != "acting" and each["state"] != "ok"
    }


@pytest.mark.parametrize("name", NAMES)
@in_reactor
async def test_every_listener_is_found(place: Place, name: str) -> None:
    """By `check`, which looks for them as the other commands do."""
    file = place.file(listeners=[place.generated, place.listeners[name]])
    code, found = place.check(file)
    assert (0, {}, True) == (code, states(found), found["acting"])


@in_reactor
async def test_every_address_is_one_as_it_is_shown(place: Place) -> None:
    """But those with TLS, which nobody vouches for."""
    shown = [
        str(address)
        for name, listener in place.listeners.items()
        for address in metrics_addresses(
            {"listeners": [listener], "enable_metrics": True}, worker=False
        )
        if "TLS" not in name
    ]
    arguments = ("status", "--json", *shown)
    result = command_line(*arguments, directory=place.directory)
    assert len(shown) > len(NAMES)
    told = json.loads(result.stdout)
    # Some listen on either kind of address at less than all that are tried.
    assert 3 * told["processes"] == told["seen"]
    unread = [line.partition(": ")[0] for line in result.stderr.splitlines()]
    assert len(shown) - len(unread) == told["processes"]
    assert [] == [each for each in unread if not each.startswith("http://[::1]:")]


@in_reactor
async def test_the_deprecated_port_is_found(place: Place) -> None:
    """Of Synapse before 0.31."""
    written = yaml.safe_load((place.directory / "homeserver.yaml").read_text())
    port = written["metrics_port"]
    file = place.file(metrics_port=port, listeners=[place.generated])
    code, found = place.check(file)
    assert (0, {}) == (code, states(found))
    assert 3 == place.seen(file)


@in_reactor
async def test_all_addresses_are_tried(place: Place) -> None:
    """Where the first cannot be reached from here, or belongs to somebody else."""
    answers = place.listeners["metrics"]
    hosts = ["::1", "127.0.0.2", "127.0.0.1"]
    file = place.file(listeners=[{**answers, "bind_addresses": hosts}])
    code, found = place.check(file)
    assert (0, {}) == (code, states(found))
    assert f"http://127.0.0.1:{answers['port']}" in found["metrics"]["found"]

    # Another program answers at the first, without any metrics.
    file = place.file(listeners=[{**answers, "port": place.generated["port"]}, answers])
    code, found = place.check(file)
    assert (0, {}) == (code, states(found))

    nobody = {**answers, "bind_addresses": ["127.0.0.2", "127.0.0.3"]}
    code, found = place.check(place.file(listeners=[nobody]))
    assert 1 == code
    for host in nobody["bind_addresses"]:
        assert f"http://{host}:" in found["metrics"]["found"]


@pytest.mark.parametrize("enabled", [None, False])
@in_reactor
async def test_without_metrics_there_is_a_note(place: Place, enabled: Any) -> None:
    """As `--generate-config` leaves it; that the module is loaded is seen anyway."""
    file = place.file(listeners=[place.generated], enable_metrics=enabled)
    code, found = place.check(file)
    unknown = {"active": "unknown", "failures": "unknown"}
    assert (0, {"metrics": "note", **unknown}) == (code, states(found))
    assert found["acting"] is None
    assert "the module's page answers at http://[::1]:" in found["loaded"]["found"]
    assert "--token-file" in found["metrics"]["do"]


@pytest.mark.parametrize("name", [None, "socket", "http, TLS", "http, IPv6 alone"])
@in_reactor
async def test_with_a_token_the_page_is_asked_instead(
    place: Place, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on every listener for HTTP."""
    listener = place.listeners[name] if name else place.generated
    file = place.file(listeners=[listener], enable_metrics=None)
    code, found = place.check(file, "--token-file", "token.txt")
    assert (0, {"metrics": "note"}) == (code, states(found))
    assert "--token-file" not in found["metrics"]["do"]
    assert found["acting"] is True
    assert "1; 3 notices seen, 2 collapsed" == found["active"]["found"]
    assert "0" == found["failures"]["found"]

    monkeypatch.setenv(TOKEN, place.admin.access_token)
    assert (code, found) == place.check(file)


@in_reactor
async def test_a_token_that_is_no_admins_is_said_to_be_none(place: Place) -> None:
    """And what is no token, or is not there."""
    file = place.file(listeners=[place.generated], enable_metrics=None)
    code, found = place.check(file, "--token-file", "other.txt")
    assert 1 == code
    assert "403: the access token is not one of a server" in found["loaded"]["found"]
    (place.directory / "wrong.txt").write_text("no such token")
    for name in ("wrong.txt", "gone.txt"):
        arguments = ("check", "-c", file, "--token-file", name)
        result = command_line(*arguments, directory=place.directory)
        assert (2, "") == (result.returncode, result.stdout)
        assert name in result.stderr


@in_reactor
async def test_where_synapse_does_not_run_that_is_wrong(place: Place) -> None:
    """Metrics or not."""
    (port,) = free(1)
    file = place.file(listeners=[{**GENERATED, "port": port}], enable_metrics=None)
    for more in ((), ("--token-file", "token.txt")):
        code, found = place.check(file, *more)
        assert (1, False) == (code, found["acting"])
        assert "start Synapse" in found["loaded"]["do"]
        for host in ("[::1]", "127.0.0.1"):
            assert f"http://{host}:{port}" in found["loaded"]["found"]


@in_reactor
async def test_status_says_which_process_tells_nothing(place: Place) -> None:
    """With what to do; the others are added up."""
    writers = {"stream_writers": {"to_device": "w1"}}
    told = place.listeners["metrics, IPv6 alone"]
    file = place.file(listeners=[told], **writers)
    arguments = ("status", "--json", "-c", file)
    result = command_line(*arguments, directory=place.directory)
    assert (1, 1) == (result.returncode, json.loads(result.stdout)["processes"])
    assert "w1: it writes to-device messages; add -c with its file" in result.stderr
    (place.directory / "w1.yaml").write_text(yaml.safe_dump({"worker_name": "w1"}))
    more = ("-c", "w1.yaml")
    result = command_line(*arguments, *more, directory=place.directory)
    assert 1 == result.returncode
    assert "w1: no listener under 'worker_listeners' tells metrics" in result.stderr
    file = place.file(listeners=[place.generated])
    result = command_line("status", "-c", file, directory=place.directory)
    assert (2, "") == (result.returncode, result.stdout)
    assert "set 'enable_metrics: true'" in result.stderr
    assert "run 'check' with --token-file" in result.stderr


@in_reactor
async def test_a_password_is_used_and_never_printed(place: Place) -> None:
    """Also where nobody answers, or the address is none."""
    url = place.homeserver.metrics_url.replace("http://", "http://me:s3cret@")
    nobody = "http://me:s3cret@127.0.0.1:1"
    check = ("check", "-c", "homeserver.yaml", "--metrics-url")
    for command, addresses in (
        (
            ("status",),
            (url, nobody, "me:s3cret@127.0.0.1:9000", "http://me:s3cret@h:x"),
        ),
        (check, (url, nobody)),
    ):
        for address in addresses:
            result = command_line(*command, address, directory=place.directory)
            assert "s3cret" not in result.stdout + result.stderr
            assert (result.returncode == 0) == (address == url)


def generate(directory: Path) -> dict[str, Any]:
    """Return the configuration that Synapse generates, with the README's lines."""
    command = ["--generate-config", "--server-name", "withheld.test"]
    command += ["--report-stats", "no", "-c", "homeserver.yaml"]
    subprocess.run(  # noqa: S603 Synapse
        [sys.executable, *SYNAPSE, *command],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    config: dict[str, Any] = yaml.safe_load((directory / "homeserver.yaml").read_text())
    block = re.search(r"^```yaml\n(modules:.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    return {**config, **yaml.safe_load(block[1])}


@in_reactor
async def test_what_synapse_generates_is_all_right(tmp_path: Path) -> None:
    """The first command that anybody runs; and with two keys left empty it is not."""
    config = generate(tmp_path)
    (listener,) = config["listeners"]
    assert {**GENERATED, "port": 8008} == listener
    file = tmp_path / "homeserver.yaml"
    process = Process(tmp_path, tmp_path / "output.log")
    run = (sys.executable, *SYNAPSE, "-c", "homeserver.yaml")

    for key in ("bind_addresses", "resources"):
        entry = {**listener, key: None}
        file.write_text(yaml.safe_dump({**config, "listeners": [entry]}))
        command = ("check", "-c", "homeserver.yaml")
        result = command_line(*command, directory=tmp_path)
        assert (1, "") == (result.returncode, result.stderr)
        said = re.search(r"does not start like this \((.*)\)", result.stdout)
        assert said is not None
        ended = subprocess.run(  # noqa: S603 Synapse
            run, cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert ended.returncode != 0
        assert said[1] in ended.stdout + ended.stderr

    (listener["port"],) = free(1)
    file.write_text(yaml.safe_dump(config))
    process.start(*run)
    try:
        url = f"http://127.0.0.1:{listener['port']}/health"
        assert await ready(process, url, READY_WITHIN_S)
        result = command_line("check", "-c", "homeserver.yaml", directory=tmp_path)
        assert (0, "") == (result.returncode, result.stderr)
        lines = {line[7:].split()[0]: line for line in result.stdout.splitlines()}
        assert lines["metrics"].startswith("note ")
        assert lines["loaded"].startswith("ok ")
    finally:
        await process.end()

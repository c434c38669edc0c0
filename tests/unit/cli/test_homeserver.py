"""What files of configuration say, and how a homeserver is asked.

Each form of listener is one of a real Synapse in the end-to-end tests.
"""

from __future__ import annotations

import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from synapse.util.module_loader import load_module

from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.homeserver.configuration import (
    MODULE,
    Deployment,
    need_module,
    parsed,
    read,
)
from synapse_withheld.cli.homeserver.http import Address, UnreachableError, get
from synapse_withheld.cli.homeserver.listeners import metrics_addresses
from synapse_withheld.config import Config
from tests.harness.servers.settings import self_signed
from tests.unit.cli.conftest import Run, write

ENTRY = {"module": MODULE}
METRICS: dict[str, Any] = {"type": "metrics", "port": 9000}
CLIENT = {"type": "http", "port": 8008, "resources": [{"names": ["client"]}]}
WITHOUT = {"enable_metrics": False}
TELLING = {**CLIENT, "resources": [{"names": ["client", "metrics"]}]}


def test_files_are_read_as_synapse_reads_them(tmp_path: Path) -> None:
    """A later one replaces whole keys, and a directory stands for its files.

    A worker's is read on top of the others, and changes nothing for them.
    """
    shared = {"modules": [], "server_name": "a"}
    own = {"worker_name": "w1", "modules": [ENTRY]}
    write(tmp_path, "no: [yaml", "e.txt")
    files = [
        Path(write(tmp_path, config, name))
        for name, config in (
            ("a.yaml", {"modules": [ENTRY], "server_name": "a"}),
            ("b.yaml", own),
            ("c.yaml", {"modules": []}),
            ("d.yaml", "# nothing"),
            ("e.yaml", "- a"),
        )
    ]
    deployment = read(files)
    assert deployment == read([tmp_path])
    read_by = [deployment.config_of(name) for name in ("master", "w1")]
    assert [shared, {**shared, **own}] == read_by


def test_the_writer_is_the_one_that_synapse_takes() -> None:
    """The main process, unless `stream_writers` names another; never two."""

    def writer(named: Any) -> str:
        return Deployment({"stream_writers": {"to_device": named}}, {}).writer

    assert ["master", "w1", "w1"] == [writer(each) for each in (None, "w1", ["w1"])]
    with pytest.raises(ProblemError, match="exactly one"):
        writer(["w1", "w2"])


def test_a_file_that_synapse_cannot_read_is_named(tmp_path: Path) -> None:
    """With the line and what to do, and without a secret beside the mistake."""
    path = Path(write(tmp_path, "a: 1\nsecret: hunter2: x\n"))
    says = f"{path} is not YAML, line 2: .*correct the file"
    with pytest.raises(ProblemError, match=says) as raised:
        read([path])
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        # In Debian's package it is in a directory beside `homeserver.yaml`.
        (None, "not under 'modules'.* give it with -c, too"),
        ([{"module": "another.Module"}, "x", {}], "not under 'modules'"),
        ({"module": MODULE}, "no list"),
        ([ENTRY, ENTRY], "more than once"),
        ([{"module": "synapse_withheld.Withheld"}], r"'synapse_withheld\.Withheld'"),
        ([{**ENTRY, "config": {"mode": "x"}}], "'mode' must be"),
        ([{**ENTRY, "a": 1, "config": {}, "b": 2}], "'a', 'b' beside 'config'"),
    ],
)
def test_a_wrong_entry_is_said_to_be_wrong(modules: object, problem: str) -> None:
    with pytest.raises(ProblemError, match=problem) as raised:
        parsed(need_module({"modules": modules}))
    assert raised.value.do


@pytest.mark.parametrize("config", [None, [], {"mode": "observe"}])
def test_a_config_is_read_as_synapse_reads_it(config: object) -> None:
    """An empty one has no keys, whatever it is; and the class has two names."""
    entry = {"module": "synapse_withheld.module.WithheldModule", "config": config}
    _, synapse = load_module(entry, ())
    assert synapse == parsed(need_module({"modules": [entry]}))
    assert (synapse == Config()) is not bool(config)


NO_LISTENER = "no listener under '(worker_)?listeners' tells metrics: set 'enable_"
EVERYWHERE = {**METRICS, "bind_addresses": ["::1", "::", "h"]}
NOTHING_SAID = {**METRICS, "bind_addresses": None}


@pytest.mark.parametrize(
    ("process", "config", "says"),
    [
        # What listens everywhere is asked on loopback; others at each address.
        (
            "master",
            {"listeners": [EVERYWHERE]},
            r"^http://\[::1\]:9000/_synapse/metrics http://127.0.0.1:9000/\S* http://h:",
        ),
        # A worker serves the resource whether metrics are enabled or not.
        ("w", {"worker_listeners": [TELLING], **WITHOUT}, "^http://127.0.0.1:8008/"),
        # Deprecated, and not gone.
        (
            "master",
            {"metrics_port": 1, "metrics_bind_host": "::1"},
            r"^http://\[::1\]:1/",
        ),
        ("w", {"metrics_port": 1}, NO_LISTENER),
        ("master", {"listeners": [CLIENT]}, NO_LISTENER),
        ("master", {"listeners": [METRICS], **WITHOUT}, NO_LISTENER),
        ("w", {"worker_listeners": [METRICS], **WITHOUT}, NO_LISTENER),
        # What Synapse does not start with is said as it says it.
        (
            "master",
            {"listeners": [METRICS, None]},
            "its 'listeners': .*Expected a dict",
        ),
        ("master", {"listeners": [NOTHING_SAID]}, "its 'listeners': .*'NoneType'"),
    ],
)
def test_metrics_are_told_where_synapse_tells_them_or_it_is_said_why_not(
    process: str, config: dict[str, Any], says: str
) -> None:
    config = {"enable_metrics": True, **config}
    try:
        found = metrics_addresses(Deployment(config, {"w": config}), process)
        told = " ".join(map(str, found))
    except ProblemError as error:
        told = str(error)
    assert re.search(says, told)


def test_an_address_is_shown_as_it_was_given_without_a_password(run: Run) -> None:
    """IPv6 literals too, and sockets as nginx writes them."""
    asked = "http://u:s3cret@[::1]:1/a?b=3", "http://unix:/no.sock", "http://[::1]:1"
    said = re.findall("(.*): it does not answer: ", run("status", *asked).err)
    metrics = "/_synapse/metrics"
    shown = ["http://[::1]:1/a?b=3", f"http://unix:/no.sock:{metrics}"]
    assert [*shown, f"http://[::1]:1{metrics}"] == said


@pytest.mark.parametrize(
    "arguments",
    [
        "check -c h.yaml --metrics-url u:s3cret@h",
        "status --every http://u:s3cret@h http://h",
        "status http://u:se/s3cret@h",
        "status http://u:12#s3cret@h",
        "top ftp://u:s3cret@h",
        "http://u:s3cret@h",
        "top http://h u:s3cret@h",
    ],
)
def test_no_mistake_in_a_command_shows_a_password(run: Run, arguments: str) -> None:
    """What is in the wrong place is quoted without it."""
    said = run(*arguments.split())
    assert "s3cret" not in said.out + said.err
    assert "error: " in said.err


class Echo(BaseHTTPRequestHandler):
    """Answers with what authorizes; below `/elsewhere` it points away."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.end_headers()
        self.wfile.write(self.headers.get("authorization", "").encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer in another thread; give the address without its scheme."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_password_goes_along_and_no_redirect_is_followed() -> None:
    """The token would go there too; and there is one header for both."""
    with serving() as host:
        address = Address(f"http://us%40er:p%2Fa@{host}")
        assert (200, "Basic dXNAZXI6cC9h") == get(address)
        with pytest.raises(UnreachableError, match="give one of the two"):
            get(address, token="T")  # noqa: S106 no secret
        with pytest.raises(UnreachableError, match="302 and points elsewhere"):
            get(Address(f"http://{host}/elsewhere"))


def test_the_certificate_of_a_file_is_trusted_whatever_its_name(tmp_path: Path) -> None:
    own, other, file = self_signed(), self_signed(), tmp_path / "tls.crt"
    file.write_bytes(own.certificate + own.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with serving(context) as host:
        address = Address(f"https://{host}", str(file))
        assert 200 == get(address)[0]
        for content, says in (
            (other.certificate, "certificate verify failed"),
            (b"", "its certificate cannot be read"),
        ):
            file.write_bytes(content)
            with pytest.raises(UnreachableError, match=says):
                get(address)


def test_what_is_no_token_is_said_in_a_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "token.txt"
    for content in (b"\xff", b"one\nanother", "ü".encode()):
        file.write_bytes(content)
        said = run("top", "http://h", "--token-file", str(file)).refusal
        assert re.search(f"{file}.*(read|something else)", said)
        assert "another" not in said

"""Asking by HTTP: each kind of address, what goes along, and whom to trust."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, ThreadingUnixStreamServer
from typing import Iterator

import attrs
import pytest

from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, first, get
from tests.harness.homeservers.certificate import self_signed


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; below `/elsewhere` it points away."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.send_header("Location", "http://user:secret@elsewhere.example/")
        self.end_headers()
        names = ("host", "authorization")
        said = {name: self.headers.get(name, "") for name in names}
        self.wfile.write(json.dumps({**said, "path": self.path}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class OnIPv6(ThreadingHTTPServer):
    """Listens on IPv6."""

    address_family = socket.AF_INET6


@contextmanager
def serving(server: BaseServer) -> Iterator[BaseServer]:
    """Answer in another thread."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Listen on each kind of address; give them by name."""
    path = str(tmp_path_factory.mktemp("sockets") / "http.sock")
    with ExitStack() as stack:
        four, six = (
            ThreadingHTTPServer(("127.0.0.1", 0), Echo),
            OnIPv6(("::1", 0), Echo),
        )
        for each in (four, six, ThreadingUnixStreamServer(path, Echo)):
            stack.enter_context(serving(each))
        yield {
            "IPv4": f"127.0.0.1:{four.server_port}",
            "IPv6": f"[::1]:{six.server_port}",
            "name": f"localhost:{four.server_port}",
            "socket": f"unix:{path}:",
        }


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Listen with a certificate of its own; give its address, with its file."""
    certificate = self_signed()
    directory = tmp_path_factory.mktemp("tls")
    path, key = directory / "tls.crt", directory / "tls.key"
    path.write_bytes(certificate.certificate)
    key.write_bytes(certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        address = Address.of(f"https://127.0.0.1:{server.server_port}/")
        yield attrs.evolve(address, certificate=str(path))


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "name", "socket"])
def test_each_kind_of_address_is_asked(listening: dict[str, str], kind: str) -> None:
    """By its name, as servers tell apart who is asked for."""
    address = Address.of(f"http://{listening[kind]}/a/b?c=d%20e")
    status, text = get(address, token="T")  # noqa: S106 no secret
    host = "localhost" if kind == "socket" else listening[kind]
    said = {"host": host, "authorization": "Bearer T", "path": "/a/b?c=d%20e"}
    assert (200, said) == (status, json.loads(text))


def test_a_password_goes_along_as_basic_authentication(
    listening: dict[str, str],
) -> None:
    """There is one header for it and for a token."""
    address = Address.of(f"http://us%40er:p%2Fa@{listening['IPv4']}")
    _, text = get(address)
    expected = f"Basic {b64encode(b'us@er:p/a').decode()}"
    assert expected == json.loads(text)["authorization"]
    with pytest.raises(UnreachableError, match="give one of the two"):
        get(address, token="T")  # noqa: S106 no secret


def test_a_redirect_is_told_and_not_followed(listening: dict[str, str]) -> None:
    """The token would go there too; and no password is shown."""
    with pytest.raises(UnreachableError) as told:
        get(Address.of(f"http://{listening['IPv4']}/elsewhere"))
    assert "it answers 302 and points to http://elsewhere.example/" in str(told.value)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:1/", "Connection refused"),
        ("http://[::1]:1/", "Connection refused"),
        ("http://unix:/no/such:/", "No such file or directory"),
        ("http://unix:/" + "a" * 200, "too long"),
        ("http://nobody.invalid", r"\S"),
        ("http://" + "ä" * 70, r"\S"),
    ],
)
def test_where_nobody_answers_the_reason_is_told(address: str, reason: str) -> None:
    """In one line."""
    with pytest.raises(
        UnreachableError, match=f"it does not answer: .*{reason}"
    ) as told:
        get(Address.of(address))
    assert "\n" not in str(told.value)


def test_what_does_not_speak_http_is_told(with_tls: Address) -> None:
    """Such as a listener with TLS that is asked without."""
    with pytest.raises(UnreachableError, match=r"it does not answer: \S"):
        get(attrs.evolve(with_tls, scheme="http", certificate=""))


def test_the_first_certificate_of_a_file_is_trusted_whatever_its_name(
    with_tls: Address, tmp_path: Path
) -> None:
    """Files have those above it in the chain, too."""
    mine, other = Path(with_tls.certificate).read_bytes(), self_signed().certificate
    path = tmp_path / "chain.crt"
    address = attrs.evolve(with_tls, certificate=str(path))
    path.write_bytes(mine + other)
    assert 200 == get(address)[0]
    path.write_bytes(other + mine)
    with pytest.raises(UnreachableError, match="not the certificate of"):
        get(address)
    with pytest.raises(UnreachableError, match="none that is trusted here"):
        get(attrs.evolve(address, certificate=""))


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_that_is_no_certificate_is_named(
    with_tls: Address, tmp_path: Path, content: bytes | None
) -> None:
    """It may not be readable for whoever asks."""
    path = tmp_path / "tls.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreachableError, match=r"its certificate .*tls\.crt"):
        get(attrs.evolve(with_tls, certificate=str(path)))


def test_the_first_address_that_answers_counts(with_tls: Address) -> None:
    """Only where none does all are named."""
    nobody = Address.of("http://127.0.0.1:1/a")
    assert with_tls == first([nobody, with_tls], get)[0]
    with pytest.raises(UnreachableError, match=r"^http://127.*/a: it .*; http.*/b: it"):
        first([nobody, Address.of("http://[::1]:1/b")], get)

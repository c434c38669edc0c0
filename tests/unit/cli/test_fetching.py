"""Asking by HTTP: what goes along, whom to trust, and why there is no answer.

Each kind of address is asked in the end-to-end tests.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import attrs
import pytest

from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, get
from tests.harness.servers.settings import self_signed


class Echo(BaseHTTPRequestHandler):
    """Answers with what authorizes; below `/elsewhere` it points away."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.send_header("Location", "http://user:secret@elsewhere.example/")
        self.end_headers()
        self.wfile.write(self.headers.get("authorization", "").encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Answer in another thread; give the address without its scheme."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Echo)) as address:
        yield address


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
    with serving(server) as address:
        yield attrs.evolve(Address.of(f"https://{address}/"), certificate=str(path))


def test_a_password_goes_along_as_basic_authentication(plain: str) -> None:
    """There is one header for it and for a token."""
    address = Address.of(f"http://us%40er:p%2Fa@{plain}")
    assert (200, "Basic dXNAZXI6cC9h") == get(address)
    with pytest.raises(UnreachableError, match="give one of the two"):
        get(address, token="T")  # noqa: S106 no secret


def test_a_redirect_is_told_and_not_followed(plain: str) -> None:
    """The token would go there too; and no password is shown."""
    with pytest.raises(UnreachableError) as told:
        get(Address.of(f"http://{plain}/elsewhere"))
    assert "it answers 302 and points to http://elsewhere.example/" in str(told.value)


def test_the_first_certificate_of_a_file_is_trusted_whatever_its_name(
    with_tls: Address, tmp_path: Path
) -> None:
    """Files have those above it in the chain, too; it may not be readable."""
    mine, other = Path(with_tls.certificate).read_bytes(), self_signed().certificate
    path = tmp_path / "tls.crt"
    address = attrs.evolve(with_tls, certificate=str(path))
    with pytest.raises(UnreachableError, match=r"its certificate .*tls\.crt"):
        get(address)
    path.write_bytes(mine + other)
    assert 200 == get(address)[0]
    path.write_bytes(other + mine)
    with pytest.raises(UnreachableError, match="not the certificate of"):
        get(address)
    with pytest.raises(UnreachableError, match="none that is trusted here"):
        get(attrs.evolve(address, certificate=""))
    for content in (b"", b"no certificate"):
        path.write_bytes(content)
        with pytest.raises(UnreachableError, match=r"its certificate .*tls\.crt"):
            get(address)

"""How a homeserver is asked."""

from __future__ import annotations

import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import pytest

from synapse_withheld.cli.__main__ import make_parser
from synapse_withheld.cli.homeserver.http import Address, UnreachableError, get
from synapse_withheld.operators.pages.asking import PATH
from tests.harness.servers.settings import self_signed
from tests.unit.cli.conftest import Run


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
        "status http://u:12/s3cret@h",
        "status http://u:12#s3cret@h",
        "top ftp://u:s3cret@h",
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
    file.write_bytes(own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with serving(context) as host:
        address = Address(f"https://{host}", str(file))
        assert 200 == get(address)[0]
        for content, says in (
            (other, "certificate verify failed"),
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


@pytest.mark.parametrize("url", ["http://h:8008", "https://h/below"])
@pytest.mark.parametrize("more", ["", "/", f"{PATH}", f"{PATH}/?a=b"])
def test_the_address_of_the_page_is_that_of_the_writer(url: str, more: str) -> None:
    assert url == make_parser().parse_args(["top", f"{url}{more}"]).url

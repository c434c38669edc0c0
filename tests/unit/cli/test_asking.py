"""Whom commands ask by HTTP: addresses, passwords and tokens, and what is answered.

Each kind of address is asked in the end-to-end tests.
"""

from __future__ import annotations

import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import attrs
import pytest

from synapse_withheld.cli.__main__ import make_parser
from synapse_withheld.cli.commands import status, top
from synapse_withheld.cli.homeserver.address import Address, shown
from synapse_withheld.cli.homeserver.fetching import UnreachableError, get
from synapse_withheld.cli.homeserver.numbers import (
    Page,
    add_up,
    as_metrics,
    parse,
)
from tests.harness.servers.settings import self_signed
from tests.unit.cli.conftest import Run


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, ""),
        ("http://[::1]:9000/_synapse/metrics", "::1", 9000, "/_synapse/metrics"),
        ("https://[2001:db8::1]", "2001:db8::1", None, ""),
        ("https://example.org/a?limit=3", "example.org", None, "/a?limit=3"),
        ("http://unix:/run/synapse.sock", "", None, ""),
        ("http://unix:/run/s.sock:/_synapse/metrics", "", None, "/_synapse/metrics"),
    ],
)
def test_an_address_is_read_and_shown_as_it_was_given(
    text: str, host: str, port: int | None, path: str
) -> None:
    """IPv6 literals too, and sockets as nginx writes them."""
    address = Address.of(text)
    assert (host, port, path) == (address.host, address.port, address.path)
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    ["", "localhost:9000", "127.0.0.1:9000", "ftp://host", "http://", "http://h:x/"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        Address.of(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("http://user:secret@host:1/p", "http://host:1/p"),
        ("http://user:s%2Fecret@[::1]/", "http://[::1]/"),
        ("http://user:se/cret@host:x", "http://host:x"),
        ("http://user:12?34@host", "http://host"),
        ("http://user:12#34@host", "http://host"),
        ("ftp://user:secret@host", "ftp://host"),
        ("user:secret@host:9000", "host:9000"),
        ("http://user:sec@ret@host", "http://host"),
    ],
)
def test_nobody_sees_a_password(text: str, seen: str) -> None:
    assert seen == shown(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "-c", "h.yaml", "--metrics-url", "u:s3cret@h"],
        ["status", "--every", "http://u:s3cret@h", "http://h"],
        ["top", "ftp://u:s3cret@h"],
        ["http://u:s3cret@h"],
    ],
)
def test_no_mistake_in_a_command_shows_a_password(
    run: Run, arguments: list[str]
) -> None:
    """What is in the wrong place is quoted without it."""
    said = run(*arguments)
    assert "s3cret" not in said.out + said.err
    assert "error: " in said.err


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
def serving(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer in another thread; give the address without its scheme."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_password_goes_along_and_no_redirect_is_followed() -> None:
    """The token would go there too; and there is one header for both."""
    with serving() as host:
        address = Address.of(f"http://us%40er:p%2Fa@{host}")
        assert "p/a" not in repr(address) + str(address)
        assert (200, "Basic dXNAZXI6cC9h") == get(address)
        with pytest.raises(UnreachableError, match="give one of the two"):
            get(address, token="T")  # noqa: S106 no secret
        with pytest.raises(UnreachableError) as told:
            get(Address.of(f"http://{host}/elsewhere"))
    assert "it answers 302 and points to http://elsewhere.example/" in str(told.value)


def test_the_first_certificate_of_a_file_is_trusted_whatever_its_name(
    tmp_path: Path,
) -> None:
    """Files have those above it in the chain, too; it may not be readable."""
    own, other = self_signed(), self_signed().certificate
    paths = [tmp_path / name for name in ("own.crt", "own.key", "tls.crt")]
    paths[0].write_bytes(own.certificate)
    paths[1].write_bytes(own.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths[0], paths[1])
    with serving(context) as host:
        unknown = Address.of(f"https://{host}/")
        address = attrs.evolve(unknown, certificate=str(paths[2]))
        with pytest.raises(UnreachableError, match="none that is trusted here"):
            get(unknown)
        for content, says in (
            (b"", r"its certificate .*tls\.crt"),
            (b"no certificate", r"its certificate .*tls\.crt"),
            (other + own.certificate, "not the certificate of"),
        ):
            paths[2].write_bytes(content)
            with pytest.raises(UnreachableError, match=says):
                get(address)
        paths[2].write_bytes(own.certificate + other)
        assert 200 == get(address)[0]
        paths[2].unlink()
        with pytest.raises(UnreachableError, match="its certificate cannot be read"):
            get(address)


def test_status_says_which_process_did_not_load_the_module(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "fetch", lambda _: Page(()))
    said = run("status", "http://h")
    assert 1 == said.code
    problem = "http://h/_synapse/metrics: this process did not load the module"
    assert problem == said.err.strip()


UNFINISHED = "# TYPE synapse_withheld_active gauge\nsynapse_withheld_active{ 1"


def test_what_is_no_page_of_ours_is_told_apart() -> None:
    """A wrong port answers with something else, others tell metrics of theirs."""
    assert parse("# TYPE process_open_fds gauge\nprocess_open_fds 1\n") == Page(())
    for text in ("<html>Synapse is running</html>", UNFINISHED):
        with pytest.raises(UnreachableError):
            parse(text)
    for text in ("<html>", "{}", "[]", '{"config": 1}'):
        with pytest.raises(UnreachableError, match="something else"):
            as_metrics(text)


def telling(mode: str, collapsed: int) -> Page:
    labels = 'decision="collapse",queue="inbox",reason="duplicate",rule="no_olm"'
    return parse(
        "# TYPE synapse_withheld_decisions_total counter\n"
        f"synapse_withheld_decisions_total{{{labels}}} {collapsed}\n"
        "# TYPE synapse_withheld_info gauge\n"
        f'synapse_withheld_info{{mode="{mode}",repeat="queued",version="1"}} 1\n'
    )


def test_where_all_is_observed_the_table_says_would_have() -> None:
    """Where something else runs too, the numbers are of both."""
    for pages, lines in (
        ([("enforce", 6)], {"collapsed": "6", "share collapsed": "100.0%"}),
        ([("observe", 0)], {"would have collapsed": "0", "share of these": "-"}),
        ([("enforce", 6), ("observe", 1200)], {"collapsed": "1,206"}),
    ):
        table = status.in_text(add_up(telling(*each) for each in pages))
        split = [re.split(r"  +", line.strip()) for line in table.splitlines()]
        assert lines.items() <= dict(split).items()
        modes = ", ".join(mode for mode, _ in pages)
        assert {"mode": modes}.items() <= dict(split).items()
        assert ("would" in table) == (modes == "observe")


@pytest.mark.parametrize("name", ["@a:b", "@\x1b[2J\r\u202eevil:b"])
def test_top_prints_no_control_characters(name: str) -> None:
    """Anybody may choose a name that would move the cursor; the numbers stay."""
    counted = {"rule": "no_olm", "notices": 1200, "error": 200}
    text = top.in_text({"senders": [{"user_id": name, **counted}], "recipients": []})
    _, line, *_ = text.splitlines()
    assert ["1,000", "1,200", "no_olm"] == line.split()[:3]
    assert line.endswith(name[-3:])
    assert all(each.isprintable() for line in text.split("\n") for each in line)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://h:8008/", ""),
        ("http://h:8008/_synapse/client/withheld", ""),
        ("http://h:8008/below/_synapse/client/withheld/?a=b", "/below"),
        ("http://h:8008/below/", "/below"),
    ],
)
def test_the_address_of_the_page_is_that_of_the_writer(given: str, asked: str) -> None:
    parsed = make_parser().parse_args(["top", given])
    assert f"http://h:8008{asked}" == str(parsed.url)


@pytest.mark.parametrize("content", [b"\xff", b"two words", b"one\nanother", b"\xc3"])
def test_what_is_no_token_is_said_in_a_line(
    run: Run, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "token.txt"
    file.write_bytes(content)
    said = run("top", "http://h", "--token-file", str(file)).refusal
    assert str(file) in said
    assert "another" not in said

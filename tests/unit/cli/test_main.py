"""The command line: its commands, how it asks a homeserver, and what it needs."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest

from synapse_withheld.cli.__main__ import commands, make_parser
from synapse_withheld.cli.homeserver.http import Address, UnreachableError, get
from synapse_withheld.operators.pages.asking import PATH
from tests.harness.commands import in_shell
from tests.harness.servers.settings import self_signed
from tests.harness.waiting import PATIENCE_S
from tests.unit.cli.conftest import TEXTS, Run, make_database, write

ROOT = Path(__file__).parents[3]
CHILDREN = "/proc/{0}/task/{0}/children"

# Runs the command line where no Synapse can be imported.
WITHOUT_SYNAPSE = """
import sys
sys.modules["synapse"] = None
from synapse_withheld.cli.__main__ import console
if __name__ == "__main__":
    console()
"""


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    code, said, _ = run(command, "--help")
    assert 0 == code
    assert re.search(r"^examples?:(.|\n)*^exit codes?:", said, re.M)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "required: COMMAND"),
        ("nonsense", "invalid choice: 'nonsense'"),
        ("check", "required: -c"),
        ("status 127.0.0.1:9000", "does not begin like http://127.0.0.1:9000"),
        ("top localhost:8008", "does not begin like https://matrix.example.org"),
        ("status http://h --every=999", "must be a duration such as 1s"),
        (f"survey -c x --limit={'9' * 5000}", f"'{'9' * 20}' is not 1 to 1000"),
        ("survey -c x --batch-size=10001", "'10001' is not 1 to 10000"),
        ("top http://h --limit=101", "'101' is not 1 to 100"),
        ("sweep -c x --enforce --dry-run", "not allowed with"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_wrong_with_an_argument_is_said(
    run: Run, arguments: str, says: str
) -> None:
    """The last line is a sentence, not the name of a function."""
    code, out, err = run(*arguments.split())
    assert (code, out, "usage: synapse-withheld" in err) == (2, "", True)
    assert says in err.splitlines()[-1]
    assert not re.search(r"invalid \w+ value", err)


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


def test_without_synapse_check_says_so_and_the_others_work(tmp_path: Path) -> None:
    """In the wrong environment `check` is asked first; a database is read anyway.

    And support has no homeserver at hand.
    """
    path = write(tmp_path, make_database(tmp_path))

    def without_synapse(arguments: str) -> Any:
        return in_shell(f"{sys.executable} command.py {arguments}", tmp_path)

    (tmp_path / "command.py").write_text(WITHOUT_SYNAPSE)
    result = without_synapse(f"check -c {path}")
    assert result.returncode == 1
    says = "WRONG  module .* cannot be imported: .*synapse.*; to do: run this with"
    assert re.match(says, result.stdout)
    for command in ("survey", "sweep"):
        result = without_synapse(f"{command} -c {path} --pause 0 --json")
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout)["done"] is True
    samples = ROOT / "tests" / "samples" / "no_olm.jsonl"
    result = without_synapse(f"explain {samples}")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 26)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """As with `head`: nothing is said."""
    path = tmp_path / "messages.jsonl"
    path.write_text('{"hours_passed": 1}\n' * 20_000)
    running: Any = subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "synapse_withheld.cli", "explain", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running.stdout.readline()
    running.stdout.close()
    assert (running.stderr.read(), running.wait()) == ("", 2)


@pytest.mark.skipif(
    not Path(CHILDREN.format(os.getpid())).exists(), reason="needs /proc"
)
@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_stays_behind(tmp_path: Path, asked: str) -> None:
    """Ctrl-C reaches both; and what was found so far is printed."""
    path = write(tmp_path, make_database(tmp_path))
    command = [sys.executable, "-m", "synapse_withheld.cli", "survey", "-c", path]
    process = subprocess.Popen(  # noqa: S603 our own command
        [*command, "--json", "--batch-size", "1", "--pause", "20s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(CHILDREN.format(process.pid))
    end = time.monotonic() + PATIENCE_S
    while not children.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    # Well into its first rest, which lasts too long for anybody to wait.
    time.sleep(2)
    send = os.killpg if asked == "SIGINT" else os.kill
    send(process.pid, signal.Signals[asked])
    # What it prints ends when the last process that could has ended.
    out, err = process.communicate(timeout=15)
    assert "" == err
    if asked != "SIGKILL":
        said = json.loads(out)
        assert (1, False) == (process.returncode, said["done"])
        assert 2 <= said["inbox"]["rows"] < 2 * len(TEXTS)

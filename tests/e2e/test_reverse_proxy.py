"""The nginx blocks of docs/workers.md and docs/install.md, in a real nginx."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
import treq
from twisted.web.http_headers import Headers

from tests.harness.commands import blocks, program
from tests.harness.process import Process
from tests.harness.reactor import async_yield_fixture
from tests.harness.servers.listening import Listener
from tests.harness.servers.settings import LOOPBACK, reserve

program("nginx")  # or the whole file is skipped

# The processes of docs/workers.md, by the ports of their listeners there.
MAIN, WRITER, SYNC, RECEIVER = 8008, 8081, 8082, 8083

# One process in the foreground, with all of its files in its directory. Inside the
# second server is what Synapse's documentation tells reverse proxies to forward.
AROUND = """\
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
access_log off;
client_body_temp_path body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
WORKERS
server {
    listen 81;
    location / { return 200; }
    location ~ ^(/_matrix|/_synapse/client) { proxy_pass http://127.0.0.1:8008; }
    INSTALL
}
}
"""


def told_at(port: int, request: Any) -> bytes:
    """Answer with the port on the page, the path, and what a proxy adds."""
    names = ("host", "x-forwarded-for", "x-forwarded-proto")
    added = [request.getHeader(name) or "" for name in names]
    return " ".join([str(port), request.uri.decode(), *added]).encode()


@async_yield_fixture(scope="module")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[str]]:
    """Run nginx with the blocks of both pages, before processes that answer."""
    config = AROUND
    for page in ("workers", "install"):
        text = (Path(__file__).parents[2] / f"docs/{page}.md").read_text()
        (lines,) = (lines for kind, lines in blocks(text) if kind == "nginx")
        config = config.replace(page.upper(), "\n".join(lines))
    addresses = [f"{LOOPBACK}:{port}" for port in reserve(2)]
    for own, address in zip(("listen 80;", "listen 81;"), addresses):
        assert config.count(own) == 1
        config = config.replace(own, f"listen {address};")
    listening = {port: Listener() for port in (MAIN, WRITER, SYNC, RECEIVER)}
    for port, each in listening.items():
        each.start(partial(told_at, port))
        config = config.replace(f"127.0.0.1:{port}", each.address)
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "nginx.conf").write_text(config)
    nginx = Process(directory, directory / "nginx.log")
    nginx.start(program("nginx"), "-p", ".", "-e", "stderr", "-c", "nginx.conf")
    try:
        await nginx.answer(f"http://{addresses[1]}/")
        yield [f"http://{each}" for each in addresses]
    finally:
        nginx.kill()
        for each in listening.values():
            await each.stop()


@pytest.mark.parametrize(
    ("path", "port"),
    [
        ("/_matrix/client/v3/sendToDevice/m.room.encrypted/t%2F1", WRITER),
        ("/_matrix/client/r0/sendToDevice/m.room_key.withheld/1", WRITER),
        ("/_matrix/client/unstable/sendToDevice/m.room.encrypted/1", WRITER),
        ("/_matrix/client/v3/sync?timeout=30000&since=s1", SYNC),
        ("/_matrix/client/r0/sync", SYNC),
        ("/_matrix/federation/v1/send/1", RECEIVER),
        ("/_matrix/federation/v2/send_join/!a:b/$c", MAIN),
        ("/_matrix/client/v3/login", MAIN),
        ("/_synapse/client/pick_idp", MAIN),
        # The page stays inside, however its path is written.
        ("/_synapse/client/withheld", None),
        ("/_synapse/client/withheld/", None),
        ("/_synapse/client/withheld/v1/status", None),
        ("/_synapse/client//withheld/v1/top?limit=1", None),
        ("/_synapse/client/%77ithheld/", None),
        ("/_synapse/client/x/../withheld/", None),
    ],
)
async def test_a_request_reaches_the_process_that_answers_it(
    proxy: list[str], path: str, port: int | None
) -> None:
    """As it came, with what Synapse needs to know of who asked."""
    host = "matrix.example.org"
    told = [str(port), path, host, "127.0.0.1", "http"]
    for server in proxy if port is None else proxy[:1]:
        response = await treq.get(server + path, headers=Headers({"Host": [host]}))
        assert response.code == (200 if port else 404)
        assert (await treq.text_content(response)).split() == told or not port

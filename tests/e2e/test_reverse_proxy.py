"""The nginx blocks of docs/workers.md and docs/install.md, in a real nginx."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
import treq
from twisted.web.http_headers import Headers

from tests.harness.commands import program
from tests.harness.process import Process, ready, tail
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.servers.listening import Listener
from tests.harness.servers.settings import LOOPBACK, reserve

# Or the whole file is skipped.
program("nginx")

DOCS = Path(__file__).parents[2] / "docs"
WORKERS = (DOCS / "workers.md").read_text()
INSTALL = (DOCS / "install.md").read_text()

# What Synapse's documentation tells reverse proxies to forward.
SYNAPSES_OWN = """\
location ~ ^(/_matrix|/_synapse/client) { proxy_pass http://127.0.0.1:8008; }
"""
# The processes of docs/workers.md, by the ports of their listeners there.
MAIN, WRITER, SYNC, RECEIVER = 8008, 8081, 8082, 8083

# One process in the foreground, with all of its files in its directory.
AROUND = """\
daemon off;
master_process off;
pid nginx.pid;
events {{}}
http {{
access_log off;
client_body_temp_path body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
server {{ listen {ready}; location / {{ return 200; }} }}
{http}
}}
"""


def told_at(port: int, request: Any) -> bytes:
    """Answer with the port on the page, the path, and what a proxy adds."""
    names = ("host", "x-forwarded-for", "x-forwarded-proto")
    added = [request.getHeader(name) or "" for name in names]
    return " ".join([str(port), request.uri.decode(), *added]).encode()


@async_yield_fixture(scope="module")
async def proxy(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[list[str]]:
    """Run nginx with the blocks of both pages, before processes that answer."""
    listening = {port: Listener() for port in (MAIN, WRITER, SYNC, RECEIVER)}
    for port, each in listening.items():
        each.start(partial(told_at, port))
    first, second, own = reserve(3)
    workers, inside = (
        re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
        for page in (WORKERS, INSTALL)
    )
    assert workers.count("listen 80;") == 1
    workers = workers.replace("listen 80;", f"listen {LOOPBACK}:{first};")
    http = f"{workers} server {{ listen {LOOPBACK}:{second}; {SYNAPSES_OWN} {inside} }}"
    for port, each in listening.items():
        http = http.replace(f"127.0.0.1:{port}", each.address)
    directory = tmp_path_factory.mktemp("nginx")
    config = directory / "nginx.conf"
    config.write_text(AROUND.format(ready=f"{LOOPBACK}:{own}", http=http))
    nginx = Process(directory, directory / "nginx.log")
    prefix = ["-p", str(directory), "-e", "stderr", "-c", str(config)]
    try:
        nginx.start(program("nginx"), *prefix)
        is_ready = await ready(nginx, f"http://{LOOPBACK}:{own}/", within_s=10)
        assert is_ready, tail(nginx.output)
        yield [f"http://{LOOPBACK}:{port}" for port in (first, second)]
    finally:
        nginx.kill()
        for each in listening.values():
            await each.stop()


async def ask(url: str) -> tuple[int, list[str]]:
    response = await treq.get(url, headers=Headers({"Host": ["matrix.example.org"]}))
    return response.code, (await treq.text_content(response)).split()


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
    ],
)
@in_reactor
async def test_a_request_reaches_the_process_that_answers_it(
    proxy: list[str], path: str, port: int
) -> None:
    """As it came, with what Synapse needs to know of who asked."""
    told = [str(port), path, "matrix.example.org", "127.0.0.1", "http"]
    assert await ask(proxy[0] + path) == (200, told)


@in_reactor
async def test_the_page_stays_inside(proxy: list[str]) -> None:
    """However its path is written, with workers and without."""
    for path in (
        "/_synapse/client/withheld",
        "/_synapse/client/withheld/",
        "/_synapse/client/withheld/v1/status",
        "/_synapse/client//withheld/v1/top?limit=1",
        "/_synapse/client/%77ithheld/",
        "/_synapse/client/x/../withheld/",
    ):
        for server in proxy:
            assert (path, (await ask(server + path))[0]) == (path, 404)

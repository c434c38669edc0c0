"""Run an nginx of one's own, from the blocks of a page."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from tests.harness.homeservers.settings import LOOPBACK
from tests.harness.processes.process import Process, ready, tail
from tests.harness.processes.programs import program

READY_WITHIN_S = 10.0

# One process in the foreground, with all of its files in its directory.
_AROUND = """\
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


def nginx_blocks(page: str) -> list[str]:
    return re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@attrs.define(eq=False)
class Nginx:
    """One nginx.

    Attributes:
        directory: Where its files go.
        http: What stands in its `http` section.
        ready_port: Where it listens besides, to say that it is there.
    """

    directory: Path
    http: str
    ready_port: int
    _process: Process = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = Process(self.directory, self.directory / "nginx.log")

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            AssertionError: It does not; with what it printed.
        """
        own = f"{LOOPBACK}:{self.ready_port}"
        config = self.directory / "nginx.conf"
        config.write_text(_AROUND.format(ready=own, http=self.http))
        prefix = ["-p", str(self.directory), "-e", "stderr"]
        self._process.start(program("nginx"), *prefix, "-c", str(config))
        if not await ready(self._process, f"http://{own}/", READY_WITHIN_S):
            raise AssertionError(tail(self._process.output))

    def kill(self) -> None:
        self._process.kill()

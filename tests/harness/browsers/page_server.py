"""Serve the page of server admins with answers of the test's own, behind a path.

For what a healthy Synapse never answers. In threads: a browser's driver blocks.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from synapse_withheld.operators.pages import asking
from synapse_withheld.version import VERSION

# As behind a reverse proxy that has Synapse below a path of its own.
PREFIX = f"/matrix{asking.PATH}/"
HANGS = object()

PAGE = Path(asking.__file__).with_name("page.html")

NOW_TS = 1_700_000_000_000
STEPS = 60


def status(**changed: Any) -> dict[str, Any]:
    """Return what a module that did nothing tells, but for what is changed."""
    return {
        "version": VERSION,
        "synapse": "1.163.2",
        "server_name": "example.org",
        "process": "master",
        "state": "acting",
        "config": {
            "mode": "enforce",
            "repeat": "queued",
            "merge_scopes": True,
            "rules": ["no_olm"],
            "outbox": True,
        },
        "started_ts": NOW_TS - 100_000,
        "now_ts": NOW_TS,
        **dict.fromkeys(("notices", "delivered", "superseded", "collapsed"), 0),
        "collapsed_share": None,
        "collapsed_bytes": 0,
        "tidied_rows": 0,
        "reasons": [],
        "tracked": {"pairs": 0, "most_pairs": 10, "mailboxes": 0},
        "last_hour": {
            "step_ms": 60_000,
            "from_ts": NOW_TS - STEPS * 60_000,
            **{each: [0] * STEPS for each in ("deliver", "supersede", "collapse")},
        },
        "failures": [],
        "sweep": None,
        **changed,
    }


def top(**changed: Any) -> dict[str, Any]:
    """Return the busiest where there were none, but for what is changed."""
    return {
        "started_ts": NOW_TS - 100_000,
        "now_ts": NOW_TS,
        "notices": 0,
        "capacity": 1000,
        "senders": [],
        "recipients": [],
        **changed,
    }


class PageServer(ThreadingHTTPServer):
    """One server on a free port.

    Attributes:
        answers: What it answers below `PREFIX` to a path without its parameters:
            JSON, bytes that are none, a status alone, or `HANGS`.
        asked: Path, parameters and `Authorization` of each request for those.
    """

    daemon_threads = True

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.asked: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it, and what hangs."""
        self.ended.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{PREFIX}"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        if self.path == PREFIX:
            self._send(200, PAGE.read_bytes(), "text/html; charset=utf-8")
            return
        path = self.path[len(PREFIX) :]
        if self.path.startswith(PREFIX):
            self.server.asked.append((path, self.headers["Authorization"]))
        answer = self.server.answers.get(path.partition("?")[0], 404)
        if answer is HANGS:
            self.server.ended.wait()
        elif isinstance(answer, int):
            self._send(answer, b'{"errcode": "M_UNKNOWN", "error": ""}')
        else:
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self._send(200, body)

    def _send(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

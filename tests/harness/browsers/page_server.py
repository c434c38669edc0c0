"""Serve the page of server admins with answers of the test's own, behind a path.

For what a healthy Synapse never answers. In threads: a browser's driver blocks.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs

from synapse_withheld.operators.pages import asking
from synapse_withheld.operators.pages.resource import content_security_policy
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


@attrs.define(eq=False)
class PageServer:
    """One server on a free port.

    Attributes:
        answers: What it answers below `PREFIX` to a path without its parameters:
            JSON, bytes that are none, a status alone, or `HANGS`.
        asked: Path, parameters and `Authorization` of each request for those.
    """

    answers: dict[str, Any] = attrs.field(factory=dict)
    asked: list[tuple[str, str | None]] = attrs.field(factory=list)
    _ended: threading.Event = attrs.field(factory=threading.Event, init=False)
    _server: ThreadingHTTPServer = attrs.field(init=False)

    def start(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PREFIX}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.startswith(PREFIX):
            handler.send_error(404)
        elif handler.path == PREFIX:
            html = PAGE.read_text(encoding="utf-8")
            _send(handler, 200, html.encode(), _headers(html))
        else:
            self._answer_json(handler, handler.path[len(PREFIX) :])

    def _answer_json(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        self.asked.append((path, handler.headers["Authorization"]))
        answer = self.answers.get(path.split("?", maxsplit=1)[0], 404)
        if answer is HANGS:
            self._ended.wait()
        elif isinstance(answer, int):
            _send(handler, answer, b'{"errcode": "M_UNKNOWN", "error": ""}', {})
        else:
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            _send(handler, 200, body, {})


def _headers(html: str) -> dict[str, str]:
    # What the page needs of the module's own.
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": content_security_policy(html),
    }


def _send(
    handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str]
) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)

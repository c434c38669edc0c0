"""Serve the pages: to server admins, and nothing about anybody to others.

The page itself holds no data: it asks for an access token and then for the JSON.
"""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, Awaitable, Callable

from synapse.module_api import DirectServeJsonResource, ModuleApi
from synapse.module_api.errors import Codes, SynapseError
from twisted.web.resource import Resource

from synapse_withheld.operators.pages.answers import Answers
from synapse_withheld.operators.pages.asking import DEFAULT_LIMIT, MOST_LIMIT, limit_of

# What Synapse's own admin API asks: whether whoever sent a request is a server admin.
IsAdmin = Callable[[Any], Awaitable[bool]]

_PAGE = Path(__file__).with_name("page.html")


class Pages(Resource):
    """Everything below `asking.PATH`."""

    def __init__(self, api: ModuleApi, is_admin: IsAdmin, answers: Answers) -> None:
        Resource.__init__(self)
        self.putChild(b"", _Page(_PAGE.read_text(encoding="utf-8")))
        status = _AdminsOnly(api, is_admin, lambda _: answers.status())
        top = _AdminsOnly(api, is_admin, lambda request: answers.top(_limit(request)))
        version = _Nothing()
        version.putChild(b"status", status)
        version.putChild(b"top", top)
        self.putChild(b"v1", version)

    def getChild(self, *_: Any) -> Resource:  # noqa: N802 Twisted's name
        return _Nothing()

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 Twisted's name
        """Lead to the page: its own addresses are relative to it."""
        request.redirect(b"withheld/")
        return b""


class _Page(Resource):
    """The page: one file, which may load and run nothing but itself."""

    isLeaf = True  # noqa: N815 Twisted's name

    def __init__(self, html: str) -> None:
        Resource.__init__(self)
        self._body = html.encode()
        self._headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": _policy(html),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 Twisted's name
        for name, value in self._headers.items():
            request.setHeader(name, value)
        return self._body


class _Nothing(DirectServeJsonResource):
    """Nothing, as Synapse says it, and nothing below it."""

    def getChild(self, *_: Any) -> Resource:  # noqa: N802 Twisted's name
        return _Nothing()

    async def _async_render_GET(self, request: Any) -> Any:  # noqa: ARG002, N802 Synapse's
        raise SynapseError(
            HTTPStatus.NOT_FOUND, "Unrecognized request", Codes.UNRECOGNIZED
        )


class _AdminsOnly(_Nothing):
    """JSON for server admins; others get what Synapse's own admin API answers."""

    def __init__(
        self, api: ModuleApi, is_admin: IsAdmin, answer: Callable[[Any], dict[str, Any]]
    ) -> None:
        super().__init__()
        self._api = api
        self._is_admin = is_admin
        self._answer = answer

    async def _async_render_GET(self, request: Any) -> Any:  # noqa: N802 Synapse's name
        requester = await self._api.get_user_by_req(request)
        if not await self._is_admin(requester):
            raise SynapseError(
                HTTPStatus.FORBIDDEN, "You are not a server admin", Codes.FORBIDDEN
            )
        return HTTPStatus.OK, self._answer(request)


def _limit(request: Any) -> int:
    given = (request.args or {}).get(b"limit")
    limit = DEFAULT_LIMIT if given is None else limit_of(given[0].decode("latin-1"))
    if limit is None:
        raise SynapseError(
            HTTPStatus.BAD_REQUEST,
            f"'limit' must be a whole number from 1 to {MOST_LIMIT}",
            Codes.INVALID_PARAM,
        )
    return limit


def _policy(html: str) -> str:
    """Return the policy under which a page runs: only its own script and style."""
    policy = "default-src 'none'; "
    for element in ("script", "style"):
        [text] = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest())
        policy += f"{element}-src 'sha256-{digest.decode()}'; "
    return policy + (
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )

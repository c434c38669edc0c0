"""Serve the pages: to server admins, and nothing about anybody to others.

The page itself holds no data: it asks for an access token and then for the JSON.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any, Awaitable, Callable

from synapse.module_api import DirectServeJsonResource, ModuleApi
from synapse.module_api.errors import Codes, SynapseError
from twisted.web.resource import Resource

from synapse_withheld.operators.pages.answers import Answers
from synapse_withheld.operators.pages.asking import DEFAULT_LIMIT, MOST_LIMIT, limit_of

# Says whether whoever sent a request, as Synapse knows him, is a server admin.
IsAdmin = Callable[[Any], Awaitable[bool]]

_PAGE = Path(__file__).with_name("page.html")

_BAD_REQUEST = 400
_FORBIDDEN = 403
_NOT_FOUND = 404


class Pages(Resource):
    """Everything below `asking.PATH`."""

    def __init__(self, api: ModuleApi, is_admin: IsAdmin, answers: Answers) -> None:
        """Read the page.

        Args:
            api: Synapse's module API: it knows who sent a request.
            is_admin: What Synapse's own admin API asks.
            answers: What is told.
        """
        Resource.__init__(self)
        self._page = Page(_PAGE.read_text(encoding="utf-8"))
        self.putChild(b"", self._page)
        version = _Nothing()
        version.putChild(b"status", Status(api, is_admin, answers))
        version.putChild(b"top", Top(api, is_admin, answers))
        self.putChild(b"v1", version)

    def getChild(self, *_: Any) -> Resource:  # noqa: N802 Twisted's name
        """Return what says that there is nothing."""
        return _Nothing()

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 Twisted's name
        """Lead to the page: its own addresses are relative to it."""
        request.redirect(b"withheld/")
        return b""


class Page(Resource):
    """The page: one file, which may load and run nothing but itself."""

    isLeaf = True  # noqa: N815 Twisted's name

    def __init__(self, html: str) -> None:
        Resource.__init__(self)
        self._body = html.encode()
        self._headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": content_security_policy(html),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 Twisted's name
        """Serve it."""
        for name, value in self._headers.items():
            request.setHeader(name, value)
        return self._body


class _Json(DirectServeJsonResource):
    """What answers with JSON, also where there is nothing below it."""

    def getChild(self, *_: Any) -> Resource:  # noqa: N802 Twisted's name
        """Return what says that there is nothing."""
        return _Nothing()


class _Nothing(_Json):
    """Nothing, as Synapse says it."""

    async def _async_render_GET(self, _: Any) -> None:  # noqa: N802 Synapse's name
        raise SynapseError(_NOT_FOUND, "Unrecognized request", Codes.UNRECOGNIZED)


class _AdminsOnly(_Json):
    """JSON for whoever has the access token of a server admin.

    Others get what Synapse's own admin API answers.
    """

    def __init__(self, api: ModuleApi, is_admin: IsAdmin, answers: Answers) -> None:
        super().__init__()
        self._api = api
        self._is_admin = is_admin
        self._answers = answers

    async def _async_render_GET(  # noqa: N802 Synapse's name
        self, request: Any
    ) -> tuple[int, Any]:
        requester = await self._api.get_user_by_req(request)
        if not await self._is_admin(requester):
            raise SynapseError(
                _FORBIDDEN, "You are not a server admin", Codes.FORBIDDEN
            )
        return 200, self.answer(request)

    def answer(self, request: Any) -> dict[str, Any]:
        """Return what is asked for."""
        raise NotImplementedError


class Status(_AdminsOnly):
    """What the module does and did."""

    def answer(self, request: Any) -> dict[str, Any]:  # noqa: ARG002 as others have it
        """Return it."""
        return self._answers.status()


class Top(_AdminsOnly):
    """Who sends and receives the most notices."""

    def answer(self, request: Any) -> dict[str, Any]:
        """Return as many as are asked for.

        Raises:
            SynapseError: It is not a number, or too large.
        """
        return self._answers.top(_limit(request.args or {}))


def _limit(parameters: dict[bytes, list[bytes]]) -> int:
    if b"limit" not in parameters:
        return DEFAULT_LIMIT
    limit = limit_of(parameters[b"limit"][0].decode("latin-1"))
    if limit is None:
        raise SynapseError(
            _BAD_REQUEST,
            f"'limit' must be a whole number from 1 to {MOST_LIMIT}",
            Codes.INVALID_PARAM,
        )
    return limit


def content_security_policy(html: str) -> str:
    """Return the policy under which a page runs: only its own script and style."""
    script, style = (_hash(html, element) for element in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _hash(html: str, element: str) -> str:
    [text] = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"

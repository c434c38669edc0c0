"""Fetch something by HTTP, and say in words why that fails."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import treq
from twisted.internet import reactor
from twisted.web.http_headers import Headers

# How long an answer may take, in seconds.
ANSWER_WITHIN_S = 10.0


class UnreachableError(Exception):
    """There is no answer, or not the one that was asked for; the message says how."""


def is_address(url: str) -> bool:
    """Say whether a text is an address of HTTP."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


async def get(url: str, token: str | None = None) -> tuple[int, str]:
    """Return the status and the text of an answer.

    Args:
        url: What is asked for.
        token: A Matrix access token, if it takes one.

    Raises:
        UnreachableError: There is none.
    """
    # Twisted decides at run time what kind it is.
    clock: Any = reactor
    headers = Headers({"Authorization": [f"Bearer {token}"]} if token else {})
    try:
        response = await treq.get(url, headers=headers, timeout=ANSWER_WITHIN_S)
        body: bytes = await treq.content(response).addTimeout(ANSWER_WITHIN_S, clock)
    except Exception as error:  # refused, reset, timed out, no such host, TLS, …
        raise UnreachableError(f"it does not answer: {_reason(error)}") from error
    return response.code, body.decode("utf-8", "replace")


def _reason(error: Exception) -> str:
    # Twisted wraps what goes wrong once a connection was made.
    reasons = getattr(error, "reasons", None)
    text = reasons[0].getErrorMessage() if reasons else str(error)
    return text.rstrip(".") or type(error).__name__

"""Listen for a Synapse on loopback, and answer it in JSON."""

from __future__ import annotations

import json
from typing import Any, Callable, cast

import attrs
from twisted.internet import reactor as default_reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.harness.homeservers.certificate import Certificate
from tests.harness.homeservers.settings import LOOPBACK


@attrs.define(eq=False)
class Listener:
    """A free port, while it listens."""

    _port: Any = attrs.field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._port.getHost().port}"

    def start(
        self, answer: Callable[[Any], Any], certificate: Certificate | None = None
    ) -> None:
        """Listen, over TLS if there is a certificate."""
        # Most of Twisted's web server and certificates has no types.
        site = cast("Any", Site)(_Everything(answer))
        reactor = cast("Any", default_reactor)
        if certificate is None:
            self._port = reactor.listenTCP(0, site, interface=LOOPBACK)
            return
        load = cast("Any", PrivateCertificate.loadPEM)
        options = load(certificate.certificate + certificate.key).options()
        self._port = reactor.listenSSL(0, site, options, interface=LOOPBACK)

    async def stop(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
            self._port = None


class _Everything(Resource):
    """Every path, whatever the method."""

    isLeaf = True  # noqa: N815 Twisted's name

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        cast("Any", super()).__init__()
        self._answer = answer

    def render(self, request: Any) -> Any:
        return self._answer(request)


def answer(request: Any, status: int, body: Any) -> bytes:
    """Set what is sent before an answer; return the answer."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(body).encode()


def answer_late(request: Any, status: int, body: Any) -> None:
    request.write(answer(request, status, body))
    request.finish()

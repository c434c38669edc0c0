"""Listen for a Synapse on loopback, and answer it in JSON."""

from __future__ import annotations

import json
from typing import Any, cast

import attrs
from twisted.internet import reactor as default_reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.web.server import Site

from tests.harness.homeservers.certificate import Certificate
from tests.harness.homeservers.settings import LOOPBACK


@attrs.define(eq=False)
class Listener:
    """A free port, while it listens, at which a resource of Twisted answers."""

    _port: Any = attrs.field(default=None, init=False)

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"{LOOPBACK}:{self._port.getHost().port}"

    def start(self, resource: Any, certificate: Certificate | None = None) -> None:
        """Listen, over TLS if there is a certificate."""
        # Most of Twisted's web server and certificates has no types.
        reactor, site = cast("Any", default_reactor), cast("Any", Site)(resource)
        if certificate is None:
            self._port = reactor.listenTCP(0, site, interface=LOOPBACK)
            return
        load = cast("Any", PrivateCertificate.loadPEM)
        options = load(certificate.certificate + certificate.key).options()
        self._port = reactor.listenSSL(0, site, options, interface=LOOPBACK)

    async def stop(self) -> None:
        """Stop listening."""
        if self._port is not None:
            await self._port.stopListening()
            self._port = None


def answer(request: Any, status: int, body: Any) -> bytes:
    """Set what is sent before an answer; return the answer."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(body).encode()


def answer_late(request: Any, status: int, body: Any) -> None:
    """Answer a request whose `render` returned `NOT_DONE_YET`."""
    request.write(answer(request, status, body))
    request.finish()

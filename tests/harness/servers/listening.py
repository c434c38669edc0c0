"""What a Synapse talks to, played by the test: on loopback, in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, cast

import yaml
from twisted.internet import reactor as default_reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.harness.client import Client
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.settings import LOOPBACK
from tests.harness.servers.stage import new_name


class Listener:
    """A free port, until it is stopped."""

    def __init__(self, answer: Callable[[Any], Any], certificate: bytes = b"") -> None:
        # Most of Twisted's web server and certificates has no types.
        page, reactor = cast("Any", Resource)(), cast("Any", default_reactor)
        # Every path, whatever the method.
        page.isLeaf, page.render = True, answer
        site = cast("Any", Site)(page)
        if certificate:
            options = cast("Any", PrivateCertificate.loadPEM)(certificate).options()
            self._port = reactor.listenSSL(0, site, options, interface=LOOPBACK)
        else:
            self._port = reactor.listenTCP(0, site, interface=LOOPBACK)
        self.address = f"{LOOPBACK}:{self._port.getHost().port}"

    async def stop(self) -> None:
        await self._port.stopListening()


def answer(request: Any, status: int, body: Any) -> bytes:
    """Set what is sent before an answer; return the answer."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(body).encode()


# Also its access token.
BRIDGE = "receiving-bridge"

_HS_TOKEN = "homeserver-token"  # noqa: S105 between two servers on loopback
_TO_DEVICE = "de.sorunome.msc2409.to_device"


class Bridge:
    """An application service on a free loopback port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # By the path of each transaction: Synapse may repeat one that was taken.
        self._taken: dict[bytes, list[dict[str, Any]]] = {}
        self._listener = Listener(self._answer)
        self.stop = self._listener.stop

    def configuration(self) -> dict[str, Any]:
        """Return what `homeserver.yaml` needs; writes registrations."""
        registration = {
            "id": BRIDGE,
            "url": f"http://{self._listener.address}",
            "as_token": BRIDGE,
            "hs_token": _HS_TOKEN,
            "sender_localpart": BRIDGE,
            "receive_ephemeral": True,
            # Its name in Synapses before 1.157.
            "de.sorunome.msc2409.push_ephemeral": True,
            "namespaces": {"users": [{"exclusive": True, "regex": f"@{BRIDGE}.*"}]},
        }
        file = self._directory / f"{BRIDGE}.yaml"
        file.write_text(yaml.safe_dump(registration))
        return {
            "app_service_config_files": [str(file)],
            "experimental_features": {"msc2409_to_device_messages_enabled": True},
        }

    async def register(
        self,
        homeserver: Homeserver,
        username: str | None = None,
        device_id: str = "BRIDGED",
    ) -> Client:
        registration = {
            "type": "m.login.application_service",
            "username": username or new_name(BRIDGE),
            "device_id": device_id,
        }
        return await Client.enter(homeserver.base_url, "register", registration, BRIDGE)

    def received(self, client: Client) -> list[dict[str, Any]]:
        """Return what it took for a device, in order, as the mailbox had it."""
        to = {"to_user_id": client.user_id, "to_device_id": client.device_id}
        return [
            {key: value for key, value in message.items() if key not in to}
            for messages in self._taken.values()
            for message in messages
            if to.items() <= message.items()
        ]

    def _answer(self, request: Any) -> bytes:
        token = request.getHeader("Authorization")
        if request.method != b"POST" and token != f"Bearer {_HS_TOKEN}":
            return answer(request, 403, {})
        if b"/transactions/" in request.path:
            messages = json.load(request.content).get(_TO_DEVICE, [])
            self._taken.setdefault(request.path, messages)
        return answer(request, 200, {})

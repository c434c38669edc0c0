"""What a Synapse talks to, played by the test: on loopback, in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, cast

import attrs
import yaml
from twisted.internet import reactor as default_reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.harness.client import Client
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.settings import LOOPBACK, Certificate
from tests.harness.servers.stage import new_name


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


SECRET = "only on loopback"  # noqa: S105 between two servers of a test
ADMIN_SCOPE = "urn:synapse:admin:*"
_API_SCOPE = "urn:matrix:org.matrix.msc2967.client:api:*"

# What no homeserver may do by itself that delegates it.
_LEFT_OUT = {"password_config": {"enabled": False}}


@attrs.define(eq=False)
class Introspection:
    """A server in the place of matrix-authentication-service, without any of its own.

    Attributes:
        tokens: Each access token's user, and whether it has an admin's scope.
    """

    tokens: dict[str, tuple[str, bool]] = attrs.field(factory=dict)
    _listener: Listener = attrs.field(factory=Listener, init=False)

    @property
    def url(self) -> str:
        return f"http://{self._listener.address}/"

    def start(self) -> None:
        self._listener.start(self._answer)

    async def stop(self) -> None:
        await self._listener.stop()

    def config(self) -> dict[str, Any]:
        """Return what `homeserver.yaml` says to delegate to it."""
        try:
            import synapse.config.mas  # noqa: F401, PLC0415 since 1.136
        except ImportError:
            delegated = {
                "enabled": True,
                "issuer": self.url,
                "client_id": "synapse",
                "client_auth_method": "client_secret_post",
                "client_secret": SECRET,
            }
            return {**_LEFT_OUT, "experimental_features": {"msc3861": delegated}}
        delegated = {"enabled": True, "endpoint": self.url, "secret": SECRET}
        return {**_LEFT_OUT, "matrix_authentication_service": delegated}

    def _answer(self, request: Any) -> bytes:
        """Tell about a token, or where what is."""
        if request.method == b"GET":
            return answer(
                request,
                200,
                {
                    "issuer": self.url,
                    "introspection_endpoint": f"{self.url}oauth2/introspect",
                    "account_management_uri": f"{self.url}account",
                },
            )
        token = request.args[b"token"][0].decode()
        if token not in self.tokens:
            return answer(request, 200, {"active": False})
        user, is_admin = self.tokens[token]
        scope = f"{_API_SCOPE} {ADMIN_SCOPE}" if is_admin else _API_SCOPE
        told = {"active": True, "scope": scope, "username": user, "sub": user}
        return answer(request, 200, told)


# Also its access token.
BRIDGE = "receiving-bridge"

_HS_TOKEN = "homeserver-token"  # noqa: S105 between two servers on loopback
_TO_DEVICE = "de.sorunome.msc2409.to_device"


class Bridge:
    """An application service on a free loopback port.

    Attributes:
        status: What it answers to transactions; down unless it is 200.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.status = 200
        self._messages: list[dict[str, Any]] = []
        self._transactions: set[str] = set()
        self._listener = Listener()

    async def start(self) -> None:
        self._listener.start(self._answer)

    async def stop(self) -> None:
        await self._listener.stop()

    def configuration(self) -> dict[str, Any]:
        """Return what `homeserver.yaml` needs, once started; writes registrations."""
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
        """Register a user of the bridge's, with a device."""
        registration = {
            "type": "m.login.application_service",
            "username": username or new_name(BRIDGE),
            "device_id": device_id,
        }
        path = "/_matrix/client/v3/register"
        bridge = Client(homeserver.base_url, "", "", BRIDGE)
        body = await bridge.succeed("POST", path, registration)
        return Client(
            homeserver.base_url,
            body["user_id"],
            body["device_id"],
            body["access_token"],
        )

    async def recover(self, homeserver: Homeserver) -> None:
        """Be up again and let Synapse know, so that it need not find out."""
        self.status = 200
        bridge = Client(homeserver.base_url, "", "", BRIDGE)
        await bridge.succeed("POST", f"/_matrix/client/v1/appservice/{BRIDGE}/ping", {})

    def is_up(self, homeserver: Homeserver) -> bool:
        """Say whether Synapse holds it for up: without, it pushes nothing new."""
        rows = homeserver.query(
            "SELECT state FROM application_services_state WHERE as_id = ?", (BRIDGE,)
        )
        return rows in ([], [(None,)], [("up",)])

    def received(self, client: Client) -> list[dict[str, Any]]:
        """Return what it took for a device, in order, as the mailbox had it."""
        to = {"to_user_id": client.user_id, "to_device_id": client.device_id}
        return [
            {key: value for key, value in message.items() if key not in to}
            for message in self._messages
            if to.items() <= message.items()
        ]

    def _answer(self, request: Request) -> bytes:
        _, _, transaction_id = request.path.decode().partition("/app/v1/transactions/")
        token = request.getHeader("Authorization")
        if request.method != b"POST" and token != f"Bearer {_HS_TOKEN}":
            return answer(request, 403, {})
        # Synapse may repeat one that was taken.
        if (
            self.status == 200
            and transaction_id
            and transaction_id not in self._transactions
        ):
            transaction = json.load(cast("Any", request.content))
            self._transactions.add(transaction_id)
            self._messages += transaction.get(_TO_DEVICE, [])
        return answer(request, self.status, {})

"""An application service, played by the test, that receives to-device messages.

Synapse pushes what its users are sent in transactions (MSC2409, now MSC4203), as to
a bridge that decrypts for them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import yaml
from twisted.web.server import Request

from tests.harness.clients.matrix import Client
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.listening import Listener, answer
from tests.harness.homeservers.stage import new_name

# Also its access token.
ID = "receiving-bridge"

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
            "id": ID,
            "url": f"http://{self._listener.address}",
            "as_token": ID,
            "hs_token": _HS_TOKEN,
            "sender_localpart": ID,
            "receive_ephemeral": True,
            # Its name in Synapses before 1.157.
            "de.sorunome.msc2409.push_ephemeral": True,
            "namespaces": {"users": [{"exclusive": True, "regex": f"@{ID}.*"}]},
        }
        file = self._directory / f"{ID}.yaml"
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
            "username": username or new_name(ID),
            "device_id": device_id,
        }
        path = "/_matrix/client/v3/register"
        bridge = Client(homeserver.base_url, "", "", ID)
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
        bridge = Client(homeserver.base_url, "", "", ID)
        await bridge.succeed("POST", f"/_matrix/client/v1/appservice/{ID}/ping", {})

    def is_up(self, homeserver: Homeserver) -> bool:
        """Say whether Synapse holds it for up: without, it pushes nothing new."""
        rows = homeserver.query(
            "SELECT state FROM application_services_state WHERE as_id = ?", (ID,)
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

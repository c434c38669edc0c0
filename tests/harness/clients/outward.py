"""A sender here, and a user with devices on another server."""

from __future__ import annotations

import json
from typing import Any

import attrs

from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import PLAIN, WITHHELD, make_key, make_notice
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import new_name
from tests.harness.polling import until


@attrs.define
class Outward:
    """A sender here, and a user with two devices on another server."""

    homeserver: Homeserver
    remote: RemoteServer
    sender: Client
    recipient: str
    sender_key: str

    def notice(self, **more: Any) -> dict[str, Any]:
        values = {"sender_key": self.sender_key, "from_device": "SENDERDEV", **more}
        return make_notice(**values)

    async def send(
        self, content: dict[str, Any], *device_ids: str, kind: str = WITHHELD
    ) -> None:
        messages = {self.recipient: dict.fromkeys(device_ids or ("A",), content)}
        assert await self.sender.send_to_device(kind, messages) == 200

    def outbox(self) -> list[dict[str, Any]]:
        rows = self.homeserver.query(
            "SELECT messages_json FROM device_federation_outbox "
            "WHERE destination = ? ORDER BY stream_id",
            (self.remote.server_name,),
        )
        return [json.loads(text)["messages"][self.recipient] for (text,) in rows]

    def received(self) -> list[dict[str, Any]]:
        return [edu["messages"][self.recipient] for edu in self.remote.to_device()]

    async def return_of_the_other(self) -> None:
        """Let the other server take transactions again, and say so by sending one."""
        self.remote.refuses = False

        async def waits() -> list[dict[str, Any]]:
            herald = self.remote.user("herald")
            await self.remote.send_edu(self.homeserver, herald, PLAIN, {})
            return self.outbox()

        await until(waits, lambda waiting: waiting == [])


async def outward_from(homeserver: Homeserver, remote: RemoteServer) -> Outward:
    """Register a sender, whose recipient's server is away."""
    remote.refuses = True
    name = new_name("outward")
    sender = await homeserver.register(name, device_id="SENDERDEV")
    return Outward(homeserver, remote, sender, remote.user("recipient"), make_key(name))

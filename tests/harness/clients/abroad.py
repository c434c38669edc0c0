"""A sender on another server, and a recipient here."""

from __future__ import annotations

from typing import Any

import attrs

from tests.harness.clients.messages import WITHHELD, make_message, make_notice
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import Two


@attrs.frozen
class Abroad:
    """A sender on another server, and a recipient here."""

    remote: RemoteServer
    two: Two
    user_id: str
    sender_key: str

    def notice(self, **more: Any) -> dict[str, Any]:
        """Return the remote sender's notice."""
        values = {"sender_key": self.sender_key, "from_device": "REMOTEDEV", **more}
        return make_notice(**values)

    def queued(self, content: dict[str, Any], kind: str = WITHHELD) -> dict[str, Any]:
        """Return the remote sender's message as stock Synapse queues it."""
        return make_message(self.user_id, content, kind)

    def mailbox(self) -> list[dict[str, Any]]:
        """Return what is queued for the recipient."""
        return self.two.mailbox()

    async def send(
        self, content: dict[str, Any], kind: str = WITHHELD, **how: Any
    ) -> dict[str, Any]:
        """Send a message to the recipient in an EDU, which is processed then.

        Returns:
            The message as stock Synapse queues it.
        """
        values = {
            "sender": self.user_id,
            "message_type": kind,
            "messages": {
                self.two.recipient.user_id: {self.two.recipient.device_id: content}
            },
            **how,
        }
        answer = await self.remote.send_edu(self.two.homeserver, **values)
        assert answer == (200, {"pdus": {}})
        return self.queued(content, kind)

    def received_ids(self) -> list[str]:
        """Return the message IDs that Synapse keeps of the remote's EDUs."""
        rows = self.two.homeserver.query(
            "SELECT message_id FROM device_federation_inbox WHERE origin = ?",
            (self.remote.server_name,),
        )
        return sorted(message_id for (message_id,) in rows)

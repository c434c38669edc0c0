"""Who sends to whom."""

from __future__ import annotations

from itertools import count
from typing import Any, Mapping

import attrs

from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.messages import content, to_devices
from tests.harness.clients.matrix import Client

OK = 200

_NUMBERS = count()


class FailedRequestError(Exception):
    """A request was not answered 200."""


@attrs.frozen
class People:
    """A sender and a recipient, used in no other measurement."""

    sender: Client
    recipient: Client

    @classmethod
    async def on(cls, lane: Lane) -> People:
        """Register them."""
        number = next(_NUMBERS)
        return cls(
            await lane.homeserver.register(f"sender{number}", device_id="SENDERDEV"),
            await lane.homeserver.register(f"recipient{number}", device_id="AWAY"),
        )

    def messages(self, message_type: str) -> Mapping[str, Any]:
        """Return the `messages` of a request for the recipient's device."""
        devices = {self.recipient.device_id: content(message_type)}
        return {self.recipient.user_id: devices}

    async def send(
        self, message_type: str, device_ids: list[str] | None = None
    ) -> None:
        """Send a message to devices of the recipient.

        Raises:
            FailedRequestError: It was not answered 200.
        """
        devices = device_ids or [self.recipient.device_id]
        status = await self.sender.send_to_device(
            message_type, to_devices(message_type, self.recipient.user_id, devices)
        )
        if status != OK:
            raise FailedRequestError(f"{message_type}: {status}")

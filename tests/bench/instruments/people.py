"""Who sends what to whom."""

from __future__ import annotations

from itertools import count
from typing import Any, Iterable

import attrs

from tests.bench.instruments.lanes import Lane
from tests.harness.client import Client, MatrixError
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)

SENDER_KEY = make_key("sender")
SENDER_DEVICE, AWAY = "SENDERDEV", "AWAY"

# What the body of an Olm message with a room key has, in characters.
_BODY = "A" * 700

_NUMBERS = count()


def content(message_type: str) -> dict[str, Any]:
    """Return the content of a message of one of the measured types."""
    if message_type == WITHHELD:
        return make_notice(SENDER_KEY, SENDER_DEVICE)
    if message_type == ENCRYPTED:
        return make_olm_lookalike(SENDER_KEY, make_key("recipient"), _BODY)
    return {}


@attrs.frozen
class People:
    """A sender and a recipient, used in no other measurement."""

    sender: Client
    recipient: Client

    @classmethod
    async def on(cls, lane: Lane) -> People:
        number = next(_NUMBERS)
        return cls(
            await lane.homeserver.register(f"sender{number}", device_id=SENDER_DEVICE),
            await lane.homeserver.register(f"recipient{number}", device_id=AWAY),
        )

    def messages(
        self, message_type: str, devices: Iterable[str] = (AWAY,)
    ) -> dict[str, dict[str, Any]]:
        told = {each: content(message_type) for each in devices}
        return {self.recipient.user_id: told}

    async def send(self, message_type: str, devices: Iterable[str] = (AWAY,)) -> None:
        messages = self.messages(message_type, devices)
        status = await self.sender.send_to_device(message_type, messages)
        if status != 200:
            raise MatrixError(f"{message_type}: {status}")

"""Readers of a mailbox other than sync: how they read, in real requests."""

from __future__ import annotations

from typing import Any, Dict, List

import attrs

from tests.harness.clients.matrix import Client
from tests.harness.clients.olm import OlmDevice

_SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
DEHYDRATED = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

Messages = List[Dict[str, Any]]


@attrs.define
class SlidingSync:
    """A connection that asks for to-device messages alone (MSC4186, MSC3885)."""

    client: Client
    limit: int = 100
    _pos: str | None = attrs.field(default=None, init=False)
    _since: str | None = attrs.field(default=None, init=False)

    async def take(self) -> Messages:
        """Acknowledge what was taken last, and take what there is."""
        answer = await self._ask()
        self._pos = answer["pos"]
        self._since = answer["extensions"]["to_device"]["next_batch"]
        return self._events(answer)

    async def look(self) -> Messages:
        """Ask, and forget the answer, as if it were lost on its way."""
        return self._events(await self._ask())

    def begin_again(self) -> None:
        """Begin a new connection, from what was acknowledged."""
        self._pos = None

    async def _ask(self) -> Any:
        to_device: dict[str, Any] = {"enabled": True, "limit": self.limit}
        if self._since is not None:
            to_device["since"] = self._since
        position = {} if self._pos is None else {"pos": self._pos}
        status, body = await self.client.request(
            "POST",
            _SLIDING_SYNC,
            {"conn_id": "test", "extensions": {"to_device": to_device}},
            position,
        )
        assert status == 200, body
        return body

    @staticmethod
    def _events(answer: Any) -> Messages:
        events: Messages = answer["extensions"]["to_device"]["events"]
        return events


def dehydrated(olm: OlmDevice, device_id: str) -> dict[str, Any]:
    account = {"algorithm": "org.matrix.msc3814.v1.olm", "account": "frozen"}
    return {
        "device_id": device_id,
        "device_data": account,
        "initial_device_display_name": "dehydrated",
        **olm.keys(),
    }

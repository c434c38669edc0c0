"""A small Matrix client: what a device needs to send and read to-device messages."""

from __future__ import annotations

import itertools
import json
import secrets
from typing import Any, AsyncIterator, Dict, List
from urllib.parse import quote

import attrs

from tests.harness.messages import OlmDevice
from tests.harness.waiting import fetch

# All users are throw-away users on a loopback server.
PASSWORD = "a password for nobody"  # noqa: S105

_CLIENT = "/_matrix/client/v3"
_SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
DEHYDRATED = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

# Rooms and presence cost time and say nothing here.
_SMALL_FILTER = '{"room":{"rooms":[]},"presence":{"types":[],"limit":%d}}'

Messages = List[Dict[str, Any]]


class MatrixError(Exception):
    """A request that had to succeed did not."""


@attrs.define(eq=False)
class Client:
    """A device that is logged in."""

    base_url: str
    user_id: str
    device_id: str
    access_token: str = attrs.field(repr=False)

    @classmethod
    async def enter(
        cls, base_url: str, path: str, body: Any, token: str = ""
    ) -> Client:
        """Log in, or register, in the way that the body says."""
        nobody = cls(base_url, "", "", token)
        told = await nobody.succeed("POST", f"{_CLIENT}/{path}", body)
        return cls(base_url, told["user_id"], told["device_id"], told["access_token"])

    async def log_in(self, device_id: str) -> Client:
        """Log the user in on another device, or again on one logged out before."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.user_id},
            "password": PASSWORD,
            "device_id": device_id,
        }
        return await self.enter(self.base_url, "login", body)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Make a request; return its status and body, whatever they are."""
        token = self.access_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        asked = {"json": body, "params": params, "headers": headers}
        status, text = await fetch(method, self.base_url + path, **asked)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, {}

    async def succeed(self, method: str, path: str, *more: Any) -> Any:
        """Make a request that is answered 200, or raise; return its body."""
        status, body = await self.request(method, path, *more)
        if status != 200:
            raise MatrixError(f"{method} {path}: {status} {body}")
        return body

    async def send_to_device(
        self,
        message_type: str,
        messages: dict[str, dict[str, dict[str, Any]]],
        txn_id: str | None = None,
    ) -> int:
        txn_id = txn_id or secrets.token_hex()
        path = f"{_CLIENT}/sendToDevice/{quote(message_type, safe='')}/{txn_id}"
        status, _ = await self.request("PUT", path, {"messages": messages})
        return status

    async def sync(self, since: str | None = None, timeout_ms: int = 0) -> Any:
        # A filter that differs keeps Synapse from answering out of its cache.
        differs = _SMALL_FILTER % (1 + secrets.randbelow(10**9))
        params = {"timeout": str(timeout_ms), "filter": differs}
        params.update({} if since is None else {"since": since})
        return await self.succeed("GET", f"{_CLIENT}/sync", None, params)

    async def syncs(self) -> AsyncIterator[tuple[int, Messages]]:
        """Sync until nothing comes; give the number of each, and what it brought."""
        since: str | None = None
        for number in itertools.count(1):
            answer = await self.sync(since)
            since = answer["next_batch"]
            new = answer.get("to_device", {}).get("events", [])
            yield number, new
            if not new and number > 1:
                return

    async def drain(self) -> Messages:
        return [message async for _, new in self.syncs() for message in new]

    async def upload_keys(self, olm: OlmDevice | None = None) -> OlmDevice:
        olm = olm or OlmDevice(self.user_id, self.device_id)
        await self.succeed("POST", f"{_CLIENT}/keys/upload", olm.keys())
        return olm


@attrs.define
class SlidingSync:
    """A connection that asks for to-device messages alone (MSC4186, MSC3885)."""

    client: Client
    limit: int = 100
    _position: dict[str, str] = attrs.field(factory=dict, init=False)
    _since: dict[str, str] = attrs.field(factory=dict, init=False)

    async def take(self) -> Messages:
        """Acknowledge what was taken last, and take what there is."""
        position, told = await self._ask()
        self._position = {"pos": position}
        self._since = {"since": told["next_batch"]}
        return list(told["events"])

    async def look(self) -> Messages:
        """Ask, and forget the answer, as if it were lost on its way."""
        _, told = await self._ask()
        return list(told["events"])

    async def _ask(self) -> tuple[str, Any]:
        to_device = {"enabled": True, "limit": self.limit, **self._since}
        body = {"conn_id": "test", "extensions": {"to_device": to_device}}
        # If it fails, the next begins a new connection, from what was acknowledged.
        position, self._position = self._position, {}
        answer = await self.client.succeed("POST", _SLIDING_SYNC, body, position)
        self._position = position
        return answer["pos"], answer["extensions"]["to_device"]


def dehydrated(olm: OlmDevice, device_id: str) -> dict[str, Any]:
    account = {"algorithm": "org.matrix.msc3814.v1.olm", "account": "frozen"}
    about = {"device_data": account, "initial_device_display_name": "dehydrated"}
    return {"device_id": device_id, **about, **olm.keys()}

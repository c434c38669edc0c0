"""A small Matrix client: what a device needs to send and read to-device messages."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
from typing import Any, Dict, List, Mapping
from urllib.parse import quote

import attrs
import treq
from twisted.web.http_headers import Headers

from tests.harness.messages import OlmDevice
from tests.harness.waiting import cancellable

# All users are throw-away users on a loopback server.
_PASSWORD = "a password for nobody"  # noqa: S105

_CLIENT = "/_matrix/client/v3"

# Beyond it a test that would hang fails, and shows the server's log.
ANSWERS_WITHIN_S = 180.0


class MatrixError(Exception):
    """A request that had to succeed did not."""


@attrs.define(eq=False)
class Client:
    """A device that is logged in."""

    base_url: str
    user_id: str
    device_id: str
    access_token: str = attrs.field(repr=False)
    _transactions: itertools.count[int] = attrs.field(
        factory=itertools.count, init=False
    )
    # Synapse remembers transactions and answers for a while.
    _run: str = attrs.field(factory=lambda: secrets.token_hex(4), init=False)

    @classmethod
    async def login(
        cls,
        base_url: str,
        user_id: str,
        device_id: str | None = None,
    ) -> Client:
        body: dict[str, Any] = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": _PASSWORD,
        }
        if device_id is not None:
            body["device_id"] = device_id
        nobody = cls(base_url, "", "", "")
        answer = await nobody.succeed("POST", f"{_CLIENT}/login", body)
        return cls(
            base_url, answer["user_id"], answer["device_id"], answer["access_token"]
        )

    async def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Make a request; return its status and body, whatever they are."""

        async def exchange() -> tuple[int, Any]:
            token = [f"Bearer {self.access_token}"] if self.access_token else []
            response = await treq.request(
                method,
                self.base_url + path,
                json=json,
                params=params,
                headers=Headers({"Authorization": token}),
                timeout=ANSWERS_WITHIN_S,
            )
            try:
                body = await response.json()
            except ValueError:
                body = {}
            return response.code, body

        return await cancellable(exchange())

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
        txn_id = txn_id or f"{self._run}-{next(self._transactions)}"
        path = f"{_CLIENT}/sendToDevice/{quote(message_type, safe='')}/{txn_id}"
        status, _ = await self.request("PUT", path, {"messages": messages})
        return status

    async def sync(self, since: str | None = None, timeout_ms: int = 0) -> Any:
        # A filter that differs keeps Synapse from answering out of its cache.
        differs = _SMALL_FILTER % (next(self._transactions) + 1)
        params = {"timeout": str(timeout_ms), "filter": differs}
        if since is not None:
            params["since"] = since
        return await self.succeed("GET", f"{_CLIENT}/sync", None, params)

    async def drain(self) -> tuple[list[dict[str, Any]], int]:
        """Sync until nothing comes; return the messages and how many syncs it took."""
        messages: list[dict[str, Any]] = []
        since: str | None = None
        for syncs in itertools.count(1):
            answer = await self.sync(since)
            since = answer["next_batch"]
            new = answer.get("to_device", {}).get("events", [])
            if not new and syncs > 1:
                return messages, syncs
            messages += new
        raise AssertionError("unreachable")

    async def upload_keys(self, olm: OlmDevice | None = None) -> OlmDevice:
        olm = olm or OlmDevice(self.user_id, self.device_id)
        await self.succeed("POST", f"{_CLIENT}/keys/upload", olm.keys())
        return olm

    async def logout(self) -> None:
        await self.request("POST", f"{_CLIENT}/logout", {})


# Rooms and presence cost time and say nothing here.
_SMALL_FILTER = '{"room":{"rooms":[]},"presence":{"types":[],"limit":%d}}'


async def register(
    base_url: str, secret: str, username: str, *, admin: bool = False
) -> str:
    """Register a user by the server's shared secret; return the user ID."""
    path = "/_synapse/admin/v1/register"
    nobody = Client(base_url, "", "", "")
    nonce = (await nobody.succeed("GET", path))["nonce"]
    role = "admin" if admin else "notadmin"
    text = "\0".join([nonce, username, _PASSWORD, role]).encode()
    body = {
        "nonce": nonce,
        "username": username,
        "password": _PASSWORD,
        "admin": admin,
        "mac": hmac.new(secret.encode(), text, hashlib.sha1).hexdigest(),
        "inhibit_login": True,
    }
    return str((await nobody.succeed("POST", path, body))["user_id"])


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
        return _to_device(answer)

    async def look(self) -> Messages:
        """Ask, and forget the answer, as if it were lost on its way."""
        return _to_device(await self._ask())

    async def _ask(self) -> Any:
        to_device: dict[str, Any] = {"enabled": True, "limit": self.limit}
        if self._since is not None:
            to_device["since"] = self._since
        position = {} if self._pos is None else {"pos": self._pos}
        body = {"conn_id": "test", "extensions": {"to_device": to_device}}
        path = _SLIDING_SYNC
        # If it fails, the next begins a new connection, from what was acknowledged.
        pos, self._pos = self._pos, None
        answer = await self.client.succeed("POST", path, body, position)
        self._pos = pos
        return answer


def _to_device(answer: Any) -> Messages:
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

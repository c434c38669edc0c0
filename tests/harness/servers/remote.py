"""A remote homeserver, played by the test.

It answers Synapse over HTTPS with a certificate of its own making, proves who it
is with a signing key that Synapse fetches from it, and sends signed transactions.
"""

from __future__ import annotations

import json
import time
from itertools import count
from typing import Any

from signedjson.key import encode_verify_key_base64, generate_signing_key
from signedjson.key import get_verify_key as verify_key_of
from signedjson.sign import sign_json
from twisted.web.server import NOT_DONE_YET

from tests.harness.servers.listening import Listener, answer
from tests.harness.servers.settings import self_signed
from tests.harness.waiting import fetch

_DAY_MS = 86_400_000


class RemoteServer:
    """A homeserver on a free loopback port, named after it.

    Attributes:
        server_name: `127.0.0.1:PORT`.
        received: The EDUs that Synapse sent, in order of arrival.
        refuses: Whether it answers transactions with an error, as if it were down.
        holds: Whether it keeps their EDUs but the answers back, until `answer`.
    """

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.refuses = False
        self.holds = False
        self._held: list[Any] = []
        self._key = generate_signing_key("test")
        self._key_id = f"{self._key.alg}:{self._key.version}"
        self._transactions = count(time.time_ns())
        listener = Listener(self._answer, self_signed())
        self.server_name, self.stop = listener.address, listener.stop

    def answer(self) -> None:
        """Give the answers that were held back, and hold no more."""
        self.holds = False
        held, self._held = self._held, []
        for request in held:
            request.write(answer(request, 200, {"pdus": {}}))
            request.finish()

    def to_device(self) -> list[dict[str, Any]]:
        """Return the contents of the EDUs with to-device messages, in order."""
        return [
            edu["content"]
            for edu in self.received
            if edu["edu_type"] == "m.direct_to_device"
        ]

    def take(self, request: Any) -> Any:
        """Take a transaction, and return what Twisted is to answer."""
        if self.refuses:
            return answer(request, 503, {"errcode": "M_UNKNOWN", "error": "Down"})
        transaction = json.load(request.content)
        self.received += transaction.get("edus", [])
        if self.holds:
            self._held.append(request)
            return NOT_DONE_YET
        return answer(request, 200, {"pdus": {}})

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.server_name}"

    async def send_edu(
        self,
        homeserver: Any,
        sender: str,
        message_type: str,
        messages: dict[str, dict[str, dict[str, Any]]],
        message_id: str | None = None,
    ) -> tuple[int, Any]:
        """Send one EDU, or repeat one; when it is answered it need not be processed."""
        message_id = message_id or f"message-{next(self._transactions)}"
        about = {"sender": sender, "type": message_type, "message_id": message_id}
        return await self.send_edus(homeserver, [{**about, "messages": messages}])

    async def send_edus(
        self, homeserver: Any, contents: list[dict[str, Any]]
    ) -> tuple[int, Any]:
        """Send EDUs of to-device messages in one transaction, at most 100."""
        path = f"/_matrix/federation/v1/send/{next(self._transactions)}"
        kind = "m.direct_to_device"
        transaction = {
            "origin": self.server_name,
            "origin_server_ts": int(time.time() * 1000),
            "pdus": [],
            "edus": [{"edu_type": kind, "content": each} for each in contents],
        }
        ends = {"origin": self.server_name, "destination": homeserver.server_name}
        request = {"method": "PUT", "uri": path, **ends, "content": transaction}
        signed: Any = sign_json(request, self.server_name, self._key)
        told = {
            **ends,
            "key": self._key_id,
            "sig": signed["signatures"][self.server_name][self._key_id],
        }
        authorization = ",".join(f'{name}="{value}"' for name, value in told.items())
        status, body = await fetch(
            "PUT",
            homeserver.base_url + path,
            json=transaction,
            headers={"Authorization": f"X-Matrix {authorization}"},
            persistent=False,
        )
        return status, json.loads(body)

    def _answer(self, request: Any) -> Any:
        """Tell the keys, and take transactions; know no user, room or device."""
        path = request.path.decode()
        if path.startswith("/_matrix/federation/v1/send/"):
            return self.take(request)
        if not path.startswith("/_matrix/key/v2/server"):
            return answer(request, 404, {"errcode": "M_NOT_FOUND", "error": "Not here"})
        verify_key = encode_verify_key_base64(verify_key_of(self._key))
        told = {
            "server_name": self.server_name,
            "valid_until_ts": int(time.time() * 1000) + _DAY_MS,
            "verify_keys": {self._key_id: {"key": verify_key}},
            "old_verify_keys": {},
        }
        return answer(request, 200, sign_json(told, self.server_name, self._key))

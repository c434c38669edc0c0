"""Real Olm: devices that encrypt for each other, and notices of those that cannot."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
from vodozemac import Account, Session

from tests.harness.clients.messages import MEGOLM, OLM, make_notice


@attrs.define(eq=False)
class OlmDevice:
    """A device with an Olm account."""

    user_id: str
    device_id: str
    _account: Account = attrs.field(factory=Account, init=False)

    @property
    def curve25519(self) -> str:
        key: str = self._account.curve25519_key.to_base64()
        return key

    def keys(self) -> dict[str, Any]:
        """Return the body of `/keys/upload`: device keys and one-time keys, signed."""
        device_keys = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": {
                f"curve25519:{self.device_id}": self.curve25519,
                f"ed25519:{self.device_id}": self._account.ed25519_key.to_base64(),
            },
        }
        self._account.generate_one_time_keys(5)
        one_time_keys = {
            f"signed_curve25519:{key_id}": self._sign({"key": key.to_base64()})
            for key_id, key in self._account.one_time_keys.items()
        }
        self._account.mark_keys_as_published()
        return {"device_keys": self._sign(device_keys), "one_time_keys": one_time_keys}

    def establish(self, other: OlmDevice) -> OlmSession:
        other._account.generate_one_time_keys(1)
        key = next(iter(other._account.one_time_keys.values()))
        other._account.mark_keys_as_published()
        session = self._account.create_outbound_session(
            other._account.curve25519_key, key
        )
        return OlmSession(self, other, session)

    def notice(self, **overrides: Any) -> dict[str, Any]:
        """Return the device's notice; without a device ID if that is set to `None`."""
        values = {
            "sender_key": self.curve25519,
            "from_device": self.device_id,
            **overrides,
        }
        return make_notice(**values)

    def _sign(self, body: dict[str, Any]) -> dict[str, Any]:
        canonical = json.dumps(
            body, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        signature = self._account.sign(canonical.encode()).to_base64()
        signatures = {self.user_id: {f"ed25519:{self.device_id}": signature}}
        return {**body, "signatures": signatures}


@attrs.frozen
class OlmSession:
    """A session from one device to another."""

    sender: OlmDevice
    recipient: OlmDevice
    _session: Session

    def encrypt(self, text: str) -> dict[str, Any]:
        """Return the content of an `m.room.encrypted` to-device message."""
        message_type, body = self._session.encrypt(text.encode()).to_parts()
        return {
            "algorithm": OLM,
            "sender_key": self.sender.curve25519,
            "ciphertext": {
                self.recipient.curve25519: {
                    "type": message_type,
                    "body": base64.b64encode(body).decode().rstrip("="),
                }
            },
        }

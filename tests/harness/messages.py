"""The to-device messages that tests send, and devices with real Olm."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
from canonicaljson import encode_canonical_json
from unpaddedbase64 import encode_base64
from vodozemac import Account, Session

WITHHELD = "m.room_key.withheld"
OLDER_WITHHELD = "org.matrix.room_key.withheld"
ENCRYPTED = "m.room.encrypted"
# A type that no rule names.
PLAIN = "test.plain"

MEGOLM = "m.megolm.v1.aes-sha2"
OLM = "m.olm.v1.curve25519-aes-sha2"


def make_key(seed: str) -> str:
    """Return what has the form of a Curve25519 key, the same for the same seed."""
    return encode_base64(hashlib.sha256(seed.encode()).digest())


def make_notice(
    sender_key: str, from_device: str | None, **more: Any
) -> dict[str, Any]:
    """Return the content of a notice, as current clients send it."""
    content = {
        "algorithm": MEGOLM,
        "code": "m.no_olm",
        "reason": "Unable to establish a secure channel.",
        "sender_key": sender_key,
        **more,
    }
    if from_device is not None:
        content["from_device"] = from_device
    return content


def make_olm_lookalike(
    sender_key: str, recipient_key: str = "A" * 43, body: str = "AwogRkhK"
) -> dict[str, Any]:
    """Return content with all that a server sees of an Olm message."""
    return {
        "algorithm": OLM,
        "ciphertext": {recipient_key: {"body": body, "type": 1}},
        "sender_key": sender_key,
    }


def make_message(
    sender: str, content: dict[str, Any], message_type: str = WITHHELD
) -> dict[str, Any]:
    return {"content": content, "type": message_type, "sender": sender}


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
        own = {"sender_key": self.curve25519, "from_device": self.device_id}
        return make_notice(**{**own, **overrides})

    def _sign(self, body: dict[str, Any]) -> dict[str, Any]:
        signature = self._account.sign(encode_canonical_json(body)).to_base64()
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
        message = {"type": message_type, "body": encode_base64(body)}
        return {
            "algorithm": OLM,
            "sender_key": self.sender.curve25519,
            "ciphertext": {self.recipient.curve25519: message},
        }

"""The rules `key_requests` and `secret_requests`: what was asked for and taken back.

From MSC3944, "Dropping stale send-to-device messages": a request is dropped once it is
cancelled, and of identical requests the newest stays. The cancellation is stored all
the same: nobody knows whether a sync has been answered with the request already.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

import attrs

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import MAX_ID_LENGTH, is_short
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import Remembered
from synapse_withheld.rules.notice import Notice, Pair, Rule

# The variants, by the `action` of the content.
REQUEST, CANCELLATION = 0, 1
_VARIANTS = {"request": REQUEST, "request_cancellation": CANCELLATION}


@attrs.frozen
class Requests(Rule):
    """Requests and their cancellations, told apart by device and `request_id`."""

    about_keys: ClassVar[bool] = False

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """Return the notice that a request or a cancellation is."""
        if not isinstance(content, dict):
            return None
        action = content.get("action")
        variant = _VARIANTS.get(action) if isinstance(action, str) else None
        device_id = content.get("requesting_device_id")
        request_id = content.get("request_id")
        if (
            variant is None
            or not is_short(device_id, MAX_ID_LENGTH)
            or not is_short(request_id, MAX_ID_LENGTH)
        ):
            return None
        key = digest(content)
        if key is None:
            return None
        pair = Pair(sender, device_id, message_type, (request_id,))
        from_device = device_id if variant == REQUEST else None
        return Notice(self, pair, key, variant, from_device=from_device)

    def news(self, variant: int, earlier: Remembered) -> Decision | None:
        """Every one is stored; of older ones, what it takes back goes."""
        if self.supersedes(earlier.variant, variant, same_key=earlier.same_key):
            is_cancelled = variant == CANCELLATION and earlier.variant == REQUEST
            return decision.CANCELLED if is_cancelled else decision.REPEATED
        return decision.NOT_REPEATED

    def supersedes(self, older: int, newer: int, *, same_key: bool) -> bool:
        """A cancellation does; a request only one that is identical.

        A request after a cancellation is a new one, and both stay.
        """
        return newer == CANCELLATION or (older == REQUEST and same_key)


@attrs.frozen
class KeyRequests(Requests):
    """Requests for room keys."""

    name: ClassVar[str] = "key_requests"
    types: ClassVar[frozenset[str]] = frozenset({"m.room_key_request"})
    marks: ClassVar[tuple[str, ...]] = ("m.room_key_request",)


@attrs.frozen
class SecretRequests(Requests):
    """Requests for secrets."""

    name: ClassVar[str] = "secret_requests"
    types: ClassVar[frozenset[str]] = frozenset({"m.secret.request"})
    marks: ClassVar[tuple[str, ...]] = ("m.secret.request",)


def digest(content: dict[str, Any]) -> str | None:
    """Return what equal contents have in common; `None` if it cannot be told."""
    try:
        written = json.dumps(content, sort_keys=True)
    except (RecursionError, TypeError, ValueError):
        return None
    return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()

"""The rules for requests: what was asked for and taken back.

From MSC3944, "Dropping stale send-to-device messages": a request is dropped once it is
cancelled, and of identical requests the newest stays. The cancellation is stored all
the same: a sync may have been answered with the request already.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, cast

import attrs

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import TRACING, is_short
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.notice import ANY, Notice, Pair, Rule, Slot

# The variants, by the `action` of the content or by the type.
REQUEST, CANCELLATION = "request", "cancellation"
_BY_ACTION = {"request": REQUEST, "request_cancellation": CANCELLATION}
_BY_TYPE = {
    "m.key.verification.request": REQUEST,
    "m.key.verification.cancel": CANCELLATION,
}

# The specification: "should be ignored" ten minutes after its `timestamp`. A day more,
# since the clocks of the sender, of this server and of the reader may differ.
_HEEDED_FOR_MS = (10 + 24 * 60) * 60 * 1000
# What JSON numbers hold exactly.
_LATEST_TS = 2**53

# Made once, and without a look for circles, which JSON cannot have: requests are many.
_write = json.JSONEncoder(sort_keys=True, check_circular=False).encode


@attrs.define(eq=False)
class Later:
    """A key that is told when it is first compared: of most requests nobody asks.

    Attributes:
        source: What it is told from: the content, or the text of the message, which
            takes less memory; `None` once it was told.
    """

    source: dict[str, Any] | str | None
    _told: object = attrs.field(default=None, init=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Later) and self._tell() == other._tell()

    def __hash__(self) -> int:
        return hash(self._tell())

    def _tell(self) -> object:
        source = self.source
        if source is not None:
            # What cannot be told is equal to nothing.
            self._told, self.source = _digest_of(source) or object(), None
        return self._told


@attrs.frozen
class CancellableRule(Rule):
    """Requests that can be cancelled; the key is what equal ones have in common.

    Attributes:
        later: Whether keys are told later.
        cancellations_pile_up: Whether a newer cancellation leaves older ones as they
            are.
    """

    later: bool = attrs.field(default=False, kw_only=True)

    about_keys: ClassVar[bool] = False
    cancellations_pile_up: ClassVar[bool] = False

    def telling_later(self) -> CancellableRule:
        return attrs.evolve(self, later=True)

    def _key(self, content: dict[str, Any]) -> str | None:
        # It compares like the text that it is told as.
        return cast("str", Later(content)) if self.later else _digest(content)

    def takes(self, notice: Notice, *, seen_arriving: bool) -> tuple[Slot, ...]:
        """A cancellation takes back whatever was requested."""
        del seen_arriving
        is_request = notice.variant == REQUEST
        return ((notice.variant, notice.key if is_request else ANY),)

    def yields_to(self, notice: Notice) -> tuple[Slot, ...]:
        """A request after a cancellation is a new one, and both stay."""
        cancellation = (CANCELLATION, ANY)
        if notice.variant == REQUEST:
            return (cancellation, (REQUEST, notice.key))
        return () if self.cancellations_pile_up else (cancellation,)

    def says_as_much(self, queued: Notice, notice: Notice) -> bool:
        """Every one is stored."""
        del queued, notice
        return False

    def why_stored(self, queued: Notice, notice: Notice) -> Decision:
        taken = self.takes(notice, seen_arriving=True)
        if not set(taken) & set(self.yields_to(queued)):
            return decision.NOT_REPEATED
        same = notice.variant == queued.variant
        return decision.REPEATED if same else decision.CANCELLED


@attrs.frozen
class Requests(CancellableRule):
    """Requests and their cancellations, told apart by device and `request_id`."""

    vanishes: bool = False

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        if not isinstance(content, dict):
            return None
        action = content.get("action")
        variant = _BY_ACTION.get(action) if isinstance(action, str) else None
        device_id = content.get("requesting_device_id")
        request_id = content.get("request_id")
        if variant is None or not is_short(device_id) or not is_short(request_id):
            return None
        key = self._key(content) if variant == REQUEST else ANY
        if key is None:
            return None
        pair = Pair(sender, device_id, message_type, (request_id,))
        from_device = device_id if variant == REQUEST else None
        return Notice(self, pair, key, variant, None, from_device)


@attrs.frozen
class KeyRequests(Requests):
    name: ClassVar[str] = "key_requests"
    types: ClassVar[frozenset[str]] = frozenset({"m.room_key_request"})
    marks: ClassVar[tuple[str, ...]] = ("m.room_key_request",)


@attrs.frozen
class SecretRequests(Requests):
    name: ClassVar[str] = "secret_requests"
    types: ClassVar[frozenset[str]] = frozenset({"m.secret.request"})
    marks: ClassVar[tuple[str, ...]] = ("m.secret.request",)


@attrs.frozen
class VerificationRequests(CancellableRule):
    """Requests to verify and their cancellations, told apart by `transaction_id`.

    A request goes, too, once it is so old that the specification has every client
    ignore it, and once the device that it is from does not exist any more.
    """

    name: ClassVar[str] = "verification_requests"
    types: ClassVar[frozenset[str]] = frozenset(_BY_TYPE)
    marks: ClassVar[tuple[str, ...]] = tuple(_BY_TYPE)
    # A client may show a code and a reason of each.
    cancellations_pile_up: ClassVar[bool] = True

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        if not isinstance(content, dict):
            return None
        transaction_id = content.get("transaction_id")
        if not is_short(transaction_id):
            return None
        # A cancellation does not name its sender's device.
        pair = Pair(sender, "", "m.key.verification", (transaction_id,))
        if _BY_TYPE[message_type] == CANCELLATION:
            return Notice(self, pair, ANY, CANCELLATION)
        key = self._key(content)
        if key is None:
            return None
        device_id = content.get("from_device")
        from_device = device_id if is_short(device_id) else None
        return Notice(self, pair, key, REQUEST, _expires_ts(content), from_device)


def _expires_ts(content: dict[str, Any]) -> int | None:
    timestamp = content.get("timestamp")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        return None
    return timestamp + _HEEDED_FOR_MS if 0 <= timestamp <= _LATEST_TS else None


def _digest_of(source: dict[str, Any] | str) -> str | None:
    try:
        content = json.loads(source)["content"] if isinstance(source, str) else source
    except RecursionError:
        return None
    return _digest(content)


def _digest(content: dict[str, Any]) -> str | None:
    """Return what equal contents have in common; `None` if it cannot be told.

    Contents that differ in how clients follow them are equal.
    """
    said = content.copy()
    said.pop(TRACING, None)
    try:
        written = _write(said)
    except (RecursionError, TypeError, ValueError):
        return None
    return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()

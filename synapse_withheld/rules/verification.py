"""The rule `verification_requests`: requests to verify that were cancelled.

From MSC3944, "Dropping stale send-to-device messages": a request is dropped once its
sender cancels it. The cancellation is stored all the same: nobody knows whether a sync
has been answered with the request already, and its prompt has to go then; all of them
stay. A request is dropped, too, once it is sent again, once it is so old that the
specification has every client ignore it, and once the device that it is from does not
exist any more.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from synapse_withheld.rules.content import MAX_ID_LENGTH, is_short
from synapse_withheld.rules.notice import ANY, Notice, Pair
from synapse_withheld.rules.requests import (
    CANCELLATION,
    REQUEST,
    CancellableRule,
    digest,
)

# The variants, by the type.
_VARIANTS = {
    "m.key.verification.request": REQUEST,
    "m.key.verification.cancel": CANCELLATION,
}

# The specification: "should be ignored" ten minutes after its `timestamp`.
IGNORED_AFTER_MS = 10 * 60 * 1000
# By how much the clocks of the sender, of this server and of the reader may differ.
MARGIN_MS = 24 * 60 * 60 * 1000
# What JSON numbers hold exactly.
_LATEST_TS = 2**53


@attrs.frozen
class VerificationRequests(CancellableRule):
    """Requests and their cancellations, told apart by `transaction_id`."""

    name: ClassVar[str] = "verification_requests"
    types: ClassVar[frozenset[str]] = frozenset(_VARIANTS)
    marks: ClassVar[tuple[str, ...]] = tuple(_VARIANTS)
    # A client may show a code and a reason of each.
    cancellations_pile_up: ClassVar[bool] = True

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """Return the notice that a request or a cancellation is."""
        if not isinstance(content, dict):
            return None
        transaction_id = content.get("transaction_id")
        if not is_short(transaction_id, MAX_ID_LENGTH):
            return None
        # A cancellation does not name its sender's device.
        pair = Pair(sender, "", "m.key.verification", (transaction_id,))
        if _VARIANTS[message_type] == CANCELLATION:
            return Notice(self, pair, ANY, CANCELLATION)
        key = digest(content)
        if key is None:
            return None
        from_device = content.get("from_device")
        return Notice(
            self,
            pair,
            key,
            REQUEST,
            _expires_ts(content),
            from_device if is_short(from_device, MAX_ID_LENGTH) else None,
        )


def _expires_ts(content: dict[str, Any]) -> int | None:
    timestamp = content.get("timestamp")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        return None
    if not 0 <= timestamp <= _LATEST_TS:
        return None
    return timestamp + IGNORED_AFTER_MS + MARGIN_MS

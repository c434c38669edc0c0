"""Look into mailboxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.harness.clients.matrix import Client
    from tests.harness.homeservers.homeserver import Homeserver


def stored(homeserver: Homeserver, user_id: str, device_id: str) -> list[str]:
    """Return the JSON text of a mailbox's rows, in their order."""
    return [text for _, text in _rows(homeserver, user_id, device_id)]


def rows_of(homeserver: Homeserver, recipient: Client) -> tuple[str, ...]:
    """Return the JSON text of what is queued for a client's device, in its order."""
    return tuple(stored(homeserver, recipient.user_id, recipient.device_id))


def mailbox_of(
    homeserver: Homeserver, user_id: str, device_id: str
) -> list[dict[str, Any]]:
    return [json.loads(text) for text in stored(homeserver, user_id, device_id)]


def mailbox(homeserver: Homeserver, recipient: Client) -> list[dict[str, Any]]:
    return mailbox_of(homeserver, recipient.user_id, recipient.device_id)


def stream_ids(homeserver: Homeserver, recipient: Client) -> list[int]:
    """Return the stream IDs of the rows queued for a client's device."""
    rows = _rows(homeserver, recipient.user_id, recipient.device_id)
    return [stream_id for stream_id, _ in rows]


def _rows(homeserver: Homeserver, *mailbox: str) -> list[tuple[Any, ...]]:
    return homeserver.query(
        """
        SELECT stream_id, message_json FROM device_inbox
        WHERE user_id = ? AND device_id = ? ORDER BY stream_id
        """,
        mailbox,
    )

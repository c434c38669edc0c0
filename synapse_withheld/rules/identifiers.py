"""Take Matrix IDs apart."""

from __future__ import annotations


def server_of(user_id: str) -> str:
    """Return the server that a user is on."""
    return user_id.partition(":")[2]


def is_from(user_id: str, origin: str | None) -> bool:
    """Say whether a user is on the server that a batch came from, `None` for ours."""
    return origin is None or server_of(user_id) == origin

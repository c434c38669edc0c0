"""Take Matrix IDs apart."""

from __future__ import annotations

# Synapse has no longer user IDs, and refuses longer device IDs. What is longer was made
# up, and remembering it would cost memory.
MAX_NAME_LENGTH = 512


def server_of(user_id: str) -> str:
    return user_id.partition(":")[2]


def is_from(user_id: str, origin: str | None) -> bool:
    """Say whether a user is on the server that a batch came from, `None` for ours."""
    return origin is None or server_of(user_id) == origin


def is_storable(identifier: str) -> bool:
    """Say whether a database can be asked about an identifier at all."""
    if "\0" in identifier:
        return False
    try:
        identifier.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def may_exist(identifier: str) -> bool:
    """Say whether there may be a user or a device of that name."""
    return len(identifier) <= MAX_NAME_LENGTH and is_storable(identifier)

"""Decide about messages by a callback of Synapse's module API, where it has one.

It has none yet: `docs/upstream.md` proposes this one. With it none of Synapse's methods
has to be wrapped.
"""

from __future__ import annotations

import inspect
from typing import Any, Awaitable, Callable, Optional

from synapse_withheld.batch import LocalMessages, ObservedBatch
from synapse_withheld.edus import Edus
from synapse_withheld.traffic import Traffic

# The method of the module API, and what it takes: another one of this name is not
# the one that is meant.
NAME = "register_to_device_callbacks"
_PARAMETERS = ("store_local_to_device_messages", "store_remote_to_device_messages")

# Stores messages; returns the stream ID of their rows, `None` if none was written.
Store = Callable[[Any], Awaitable[Optional[int]]]


def are_there(api: object) -> bool:
    """Say whether a module API has the callbacks."""
    register = getattr(api, NAME, None)
    if register is None:
        return False
    return tuple(inspect.signature(register).parameters) == _PARAMETERS


def register(api: Any, traffic: Traffic) -> None:
    """Have all batches of to-device messages go through the module."""

    async def store_local(
        messages: LocalMessages, origin: str | None, store: Store
    ) -> None:
        async def write(kept: LocalMessages) -> None:
            # An EDU of which nothing is left is still stored, for its message_id.
            stream_id = await store(kept) if kept or origin is not None else None
            _note(kept, stream_id)

        await traffic.to_local(messages, write, origin)

    async def store_remote(edus: Edus, store: Store) -> None:
        async def write(left: Edus, batch: ObservedBatch | None) -> None:
            _note(batch, await store(left) if left else None)

        await traffic.to_remote(edus, write)

    getattr(api, NAME)(
        store_local_to_device_messages=store_local,
        store_remote_to_device_messages=store_remote,
    )


def _note(batch: object, stream_id: int | None) -> None:
    if isinstance(batch, ObservedBatch):
        batch.stream_id = stream_id

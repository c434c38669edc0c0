"""What the wrapped methods of Synapse's store do instead, given the original ones.

Their parameters are named as Synapse names them, which may pass them by name.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any, Awaitable, Callable

from synapse_withheld.delivery.batch import LocalMessages, ObservedBatch
from synapse_withheld.delivery.collapser import Write
from synapse_withheld.delivery.edus import Edus
from synapse_withheld.delivery.traffic import Traffic

# Returns the position up to which readers see to-device messages.
StreamToken = Callable[[], int]

# The batch whose EDUs are being stored by this task.
_storing: ContextVar[ObservedBatch | None] = ContextVar("_storing", default=None)


def observing(original: Any) -> Any:
    """Note in a batch at which stream ID its rows were written."""

    def add_rows(txn: Any, stream_id: int, messages_by_user_then_device: Any) -> None:
        batch = messages_by_user_then_device
        observed = isinstance(batch, ObservedBatch)
        # Runs again at each attempt of the transaction, and not at all where
        # Synapse finds that it has an EDU already.
        if observed:
            batch.stream_id = None
        original(txn, stream_id, batch)
        if observed:
            batch.stream_id = stream_id

    return add_rows


def noting_row(original: Any) -> Any:
    """Note in the batch that is being stored at which stream ID its EDU was written."""

    def entity_has_changed(entity: str, stream_pos: int) -> None:
        original(entity, stream_pos)
        batch = _storing.get()
        if batch is not None:
            batch.stream_id = stream_pos

    return entity_has_changed


def from_remote(traffic: Traffic, original: Any) -> Any:
    """Decide about messages from another server."""

    async def add_messages_from_remote(
        origin: str, message_id: str, local_messages_by_user_then_device: Any
    ) -> Any:
        local = local_messages_by_user_then_device
        # An EDU of which nothing is left is still stored, for its message_id.
        write = functools.partial(original, origin, message_id)
        if traffic.decides_about(local):
            return await _store_and_trim(traffic, local, write, origin)
        return await traffic.to_local(local, write, origin)

    return add_messages_from_remote


def to_local(traffic: Traffic, stream_token: StreamToken, original: Any) -> Any:
    """Decide about messages from a client to devices of this server."""

    async def write(kept: LocalMessages) -> Any:
        return await original(kept) if kept else stream_token()

    async def add_local_messages(local_messages_by_user_then_device: Any) -> Any:
        local = local_messages_by_user_then_device
        if traffic.decides_about(local):
            return await _store_and_trim(traffic, local, write)
        return await traffic.to_local(local, original)

    return add_local_messages


def to_remote(traffic: Traffic, stream_token: StreamToken, original: Any) -> Any:
    """Decide about messages from a client to devices of other servers."""

    async def write(kept: Edus, batch: ObservedBatch | None) -> Any:
        if batch is not None and not kept:
            return stream_token()
        return await _stored_as(batch, original(kept))

    async def add_remote_messages(remote_messages_by_destination: Any) -> Any:
        return await traffic.to_remote(remote_messages_by_destination, write)

    return add_remote_messages


def together(traffic: Traffic, stream_token: StreamToken, original: Any) -> Any:
    """Decide about messages from a client to devices of any server, in one call."""

    async def add_messages(
        local_messages_by_user_then_device: Any, remote_messages_by_destination: Any
    ) -> Any:
        local, remote = (
            local_messages_by_user_then_device,
            remote_messages_by_destination,
        )

        async def write(kept: LocalMessages) -> Any:
            async def write_both(edus: Edus, batch: ObservedBatch | None) -> Any:
                if kept or edus or not (local or remote):
                    return await _stored_as(batch, original(kept, edus))
                return stream_token()

            return await traffic.to_remote(remote, write_both)

        if traffic.decides_about(local):
            return await _store_and_trim(traffic, local, write)
        return await traffic.to_local(local, write)

    return add_messages


async def _stored_as(batch: ObservedBatch | None, storing: Awaitable[Any]) -> Any:
    """Await Synapse storing EDUs; note in the batch at which stream ID."""
    before = _storing.set(batch)
    try:
        return await storing
    finally:
        _storing.reset(before)


async def _store_and_trim(
    traffic: Traffic, messages: LocalMessages, write: Write, origin: str | None = None
) -> Any:
    """Store a batch; leave in it only users with something new, whom Synapse wakes."""
    stored = messages

    async def write_kept(kept: LocalMessages) -> Any:
        nonlocal stored
        stored = kept
        return await write(kept)

    result = await traffic.to_local(messages, write_kept, origin)
    if stored is not messages:
        for user_id in messages.keys() - stored.keys():
            del messages[user_id]
    return result

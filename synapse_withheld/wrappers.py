"""What the wrapped methods of Synapse's store do instead, given the original ones.

Their parameters are named as Synapse names them, which may pass them by name.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Awaitable, Callable, Collection

from synapse_withheld.delivery.batch import (
    Edus,
    LocalMessages,
    ObservedBatch,
    Watched,
    how_many,
)
from synapse_withheld.delivery.sorting import MOST_SORTED
from synapse_withheld.delivery.traffic import Traffic, Write

logger = logging.getLogger(__name__)

# Returns the position up to which readers see to-device messages.
StreamToken = Callable[[], int]

# The batch whose EDUs are being stored by this task.
_storing: ContextVar[ObservedBatch | None] = ContextVar("_storing", default=None)


def observing(original: Any) -> Any:
    """Note in a batch at which stream ID its rows were written, and for whom."""

    def add_rows(txn: Any, stream_id: int, messages_by_user_then_device: Any) -> None:
        batch = messages_by_user_then_device
        if not isinstance(batch, ObservedBatch):
            original(txn, stream_id, batch)
            return
        # Runs again at each attempt of the transaction, and not at all where
        # Synapse finds that it has an EDU already.
        batch.stream_id = batch.watched = None
        # Of more nothing was sorted, and nobody asks about them.
        if how_many(batch) <= MOST_SORTED:
            batch.watched = {user_id: Watched(each) for user_id, each in batch.items()}
        original(txn, stream_id, batch if batch.watched is None else batch.watched)
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
    """Have messages from another server go through the module."""

    async def add_messages_from_remote(
        origin: str, message_id: str, local_messages_by_user_then_device: Any
    ) -> Any:
        async def write(kept: LocalMessages, _: Edus) -> Any:
            # An EDU of which nothing is left is still stored, for its message_id.
            return await original(origin, message_id, kept)

        local = local_messages_by_user_then_device
        return await _store_and_trim(traffic, local, {}, write, origin)

    return add_messages_from_remote


def to_local(traffic: Traffic, stream_token: StreamToken, original: Any) -> Any:
    """Have messages from a client to devices of this server go through the module."""

    async def add_local_messages(local_messages_by_user_then_device: Any) -> Any:
        local = local_messages_by_user_then_device
        is_empty = not local

        async def write(kept: LocalMessages, _: Edus) -> Any:
            return await original(kept) if kept or is_empty else stream_token()

        return await _store_and_trim(traffic, local, {}, write)

    return add_local_messages


def to_remote(traffic: Traffic, stream_token: StreamToken, original: Any) -> Any:
    """Have messages from a client to devices of other servers go through the module."""

    async def add_remote_messages(remote_messages_by_destination: Any) -> Any:
        remote = remote_messages_by_destination

        async def write(_: LocalMessages, kept: Edus) -> Any:
            if kept or not remote:
                return await _observed(kept, original(kept))
            return stream_token()

        return await traffic.store({}, remote, write)

    return add_remote_messages


def together(traffic: Traffic, stream_token: StreamToken, original: Any) -> Any:
    """Have messages from a client to devices of any server go through the module."""

    async def add_messages(
        local_messages_by_user_then_device: Any, remote_messages_by_destination: Any
    ) -> Any:
        local = local_messages_by_user_then_device
        remote = remote_messages_by_destination
        is_empty = not (local or remote)

        async def write(kept: LocalMessages, edus: Edus) -> Any:
            if kept or edus or is_empty:
                return await _observed(edus, original(kept, edus))
            return stream_token()

        return await _store_and_trim(traffic, local, remote, write)

    return add_messages


def reading_device(traffic: Traffic, original: Any) -> Any:
    """Note that a device begins to read its mailbox."""

    # How many it takes is Synapse's business.
    async def get_messages_for_device(
        user_id: str,
        device_id: str,
        from_stream_id: int,
        to_stream_id: int,
        *limit: Any,
        **named_limit: Any,
    ) -> Any:
        _note(traffic.note_read, user_id, device_id, to_stream_id)
        place = (user_id, device_id, from_stream_id, to_stream_id)
        return await original(*place, *limit, **named_limit)

    return get_messages_for_device


def reading_users(traffic: Traffic, original: Any) -> Any:
    """Note that somebody begins to read all mailboxes of some users."""

    async def get_messages_for_user_devices(
        user_ids: Collection[str], from_stream_id: int, to_stream_id: int
    ) -> Any:
        for user_id in user_ids:
            _note(traffic.note_read_of_user, user_id, to_stream_id)
        return await original(user_ids, from_stream_id, to_stream_id)

    return get_messages_for_user_devices


def _note(note: Callable[..., None], *about: Any) -> None:
    try:
        note(*about)
    except Exception:
        # Nobody's sync may fail for it.
        logger.exception("synapse_withheld cannot note that a mailbox is read")


async def _observed(edus: Edus, storing: Awaitable[Any]) -> Any:
    """Await Synapse storing EDUs; note in them at which stream ID."""
    before = _storing.set(edus if isinstance(edus, ObservedBatch) else None)
    try:
        return await storing
    finally:
        _storing.reset(before)


async def _store_and_trim(
    traffic: Traffic,
    local: LocalMessages,
    edus: Edus,
    write: Write,
    origin: str | None = None,
) -> Any:
    """Store a batch; leave in it only users with something new, whom Synapse wakes."""
    stored = local

    async def write_kept(kept: LocalMessages, edus: Edus) -> Any:
        nonlocal stored
        stored = kept
        return await write(kept, edus)

    result = await traffic.store(local, edus, write_kept, origin)
    if stored is not local:
        for user_id in local.keys() - stored.keys():
            del local[user_id]
    return result

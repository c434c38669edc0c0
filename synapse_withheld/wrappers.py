"""What the wrapped methods of Synapse's store do instead, given the original ones.

Their parameters are named as Synapse names them, which may pass them by name.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from functools import partial
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
        local = local_messages_by_user_then_device
        store = partial(traffic.store, origin=origin)
        # An EDU of which nothing is left is still stored, for its message_id.
        return await _send(
            store, None, local, {}, lambda kept, _: original(origin, message_id, kept)
        )

    return add_messages_from_remote


def to_local(traffic: Traffic, token: StreamToken, original: Any) -> Any:
    """Have messages from a client to devices of this server go through the module."""

    async def add_local_messages(local_messages_by_user_then_device: Any) -> Any:
        local = local_messages_by_user_then_device
        return await _send(
            traffic.store, token, local, {}, lambda kept, _: original(kept)
        )

    return add_local_messages


def to_remote(traffic: Traffic, token: StreamToken, original: Any) -> Any:
    """Have messages from a client to devices of other servers go through the module."""

    async def add_remote_messages(remote_messages_by_destination: Any) -> Any:
        edus = remote_messages_by_destination
        return await _send(
            traffic.store, token, {}, edus, lambda _, kept: original(kept)
        )

    return add_remote_messages


def together(traffic: Traffic, token: StreamToken, original: Any) -> Any:
    """Have messages from a client to devices of any server go through the module."""

    async def add_messages(
        local_messages_by_user_then_device: Any, remote_messages_by_destination: Any
    ) -> Any:
        local = local_messages_by_user_then_device
        edus = remote_messages_by_destination
        return await _send(traffic.store, token, local, edus, original)

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


async def _send(
    store: Callable[..., Awaitable[Any]],
    token: StreamToken | None,
    local: LocalMessages,
    edus: Edus,
    original: Write,
) -> Any:
    """Store what is left of a batch; without a `token` also if nothing is.

    In `local` only users with something new are left: Synapse wakes these.
    """
    is_empty = not (local or edus)
    stored = local

    async def write(kept: LocalMessages, kept_edus: Edus) -> Any:
        nonlocal stored
        stored = kept
        if token is not None and not (kept or kept_edus or is_empty):
            return token()
        observed = kept_edus if isinstance(kept_edus, ObservedBatch) else None
        before = _storing.set(observed)
        try:
            return await original(kept, kept_edus)
        finally:
            _storing.reset(before)

    result = await store(local, edus, write)
    for user_id in local.keys() - stored.keys():
        del local[user_id]
    return result

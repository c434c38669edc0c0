"""What the wrapped methods of Synapse's store do instead, given the original ones.

Synapse may pass their parameters by name.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Callable, Collection

from synapse_withheld.delivery.batch import (
    Edus,
    LocalMessages,
    ObservedBatch,
    Watched,
    how_many,
)
from synapse_withheld.delivery.sorting import MOST_SORTED
from synapse_withheld.delivery.traffic import Traffic

logger = logging.getLogger(__name__)

# What the methods that store messages call what is looked at here.
LOCAL = "local_messages_by_user_then_device"
REMOTE = "remote_messages_by_destination"
ORIGIN = "origin"

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


def sending(
    traffic: Traffic, token: StreamToken, parameters: tuple[str, ...], original: Any
) -> Any:
    """Have messages on their way into the store go through the module.

    `parameters` are those of the wrapped method, by name.
    """

    async def send(*given: Any, **named: Any) -> Any:
        arguments = dict(zip(parameters, given))
        arguments.update(named)
        local, edus = arguments.get(LOCAL, {}), arguments.get(REMOTE, {})
        origin = arguments.get(ORIGIN)
        stored = local

        async def write(kept: LocalMessages, kept_edus: Edus) -> Any:
            nonlocal stored
            stored = kept
            # An EDU of another server is always stored, for its message_id.
            if not (kept or kept_edus) and origin is None and (local or edus):
                return token()
            arguments[LOCAL], arguments[REMOTE] = kept, kept_edus
            observed = kept_edus if isinstance(kept_edus, ObservedBatch) else None
            before = _storing.set(observed)
            try:
                return await original(*map(arguments.__getitem__, parameters))
            finally:
                _storing.reset(before)

        result = await traffic.store(local, edus, write, origin)
        if stored is not local:
            # Only users with something new are left: Synapse wakes these.
            for user_id in local.keys() - stored.keys():
                del local[user_id]
        return result

    return send


def reading_device(traffic: Traffic, original: Any) -> Any:
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

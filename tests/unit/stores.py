"""Stores with the methods that Synapse's have, in each shape, and what is behind."""

from __future__ import annotations

import sqlite3
import types
from typing import Any

from synapse_withheld.synapse_internals import SynapseInternals


class Changes:
    """What tells readers of the outboxes that there is something new."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def entity_has_changed(self, entity: str, stream_pos: int) -> None:
        self.told.append((entity, stream_pos))


class OnlyHalf:
    """What the store has in every version, and that alone."""

    def __init__(self) -> None:
        self.called: list[Any] = []
        self.db_pool = types.SimpleNamespace(
            engine=types.SimpleNamespace(module=sqlite3)
        )
        self._device_federation_outbox_stream_cache = Changes()

    async def add_messages_from_remote_to_device_inbox(
        self, origin: str, message_id: str, local_messages_by_user_then_device: Any
    ) -> int:
        self.called.append((origin, message_id, local_messages_by_user_then_device))
        return 1

    def _add_messages_to_local_device_inbox_txn(
        self, txn: Any, stream_id: int, messages_by_user_then_device: Any
    ) -> None:
        self.called.append((txn, stream_id, messages_by_user_then_device))

    async def get_messages_for_device(
        self,
        user_id: str,
        device_id: str,
        from_stream_id: int,
        to_stream_id: int,
        limit: int = 100,
    ) -> tuple[list[Any], int]:
        self.called.append((user_id, device_id, from_stream_id, to_stream_id, limit))
        return [], to_stream_id

    async def get_messages_for_user_devices(
        self, user_ids: Any, from_stream_id: int, to_stream_id: int
    ) -> dict[Any, Any]:
        self.called.append((user_ids, from_stream_id, to_stream_id))
        return {}

    def get_to_device_stream_token(self) -> int:
        return 42

    def get_device_stream_token(self) -> int:
        return 7

    def get_app_services(self) -> list[Any]:
        return []


class Apart(OnlyHalf):
    """The store of Synapse 1.155 and later."""

    async def add_local_messages_from_client_to_device_inbox(
        self, local_messages_by_user_then_device: Any
    ) -> int:
        self.called.append(local_messages_by_user_then_device)
        return 1

    async def add_remote_messages_from_client_to_device_inbox(
        self, remote_messages_by_destination: Any
    ) -> int:
        self.called.append(remote_messages_by_destination)
        for destination in remote_messages_by_destination:
            changes = self._device_federation_outbox_stream_cache
            changes.entity_has_changed(destination, len(self.called))
        return 1


class Renamed(Apart):
    async def add_local_messages_from_client_to_device_inbox(
        self, messages: Any
    ) -> int:
        return len(messages)


class WithoutChanges(Apart):
    """A Synapse whose outboxes' readers are told in another way."""

    def __init__(self) -> None:
        super().__init__()
        del self._device_federation_outbox_stream_cache


class ReadsOtherwise(Apart):
    """A Synapse whose mailboxes are read in another way."""

    async def get_messages_for_device(  # type: ignore[override]
        self, place: list[Any], limit: int
    ) -> tuple[list[Any], int]:
        return place, limit


class Traffic:
    """Takes out what the test says, and notes what passes."""

    def __init__(self, kept: Any = None, kept_edus: Any = None) -> None:
        self.kept = kept
        self.kept_edus = kept_edus
        self.reads: list[Any] = []
        self.failing = False

    async def store(self, local: Any, edus: Any, write: Any, origin: Any = None) -> Any:
        self.origin = origin
        kept = local if self.kept is None else self.kept
        return await write(kept, edus if self.kept_edus is None else self.kept_edus)

    def note_read(self, *read: Any) -> None:
        self.reads.append(read)
        if self.failing:
            raise RuntimeError

    note_read_of_user = note_read


def api(
    store: Any,
    *,
    name: str = "master",
    writers: Any = ("master",),
    redis: Any = False,
) -> Any:
    worker = types.SimpleNamespace(
        writers=types.SimpleNamespace(to_device=list(writers))
    )
    homeserver = types.SimpleNamespace(
        get_datastores=lambda: types.SimpleNamespace(main=store),
        get_instance_name=lambda: name,
        get_reactor=lambda: types.SimpleNamespace(callLater=None),
        config=types.SimpleNamespace(
            worker=worker, redis=types.SimpleNamespace(redis_enabled=redis)
        ),
    )
    return types.SimpleNamespace(_hs=homeserver, server_name="hs", sleep=None)


def intercepted(store: Any, traffic: Any, **more: Any) -> Any:
    SynapseInternals(api(store, **more)).intercept(traffic)
    return store

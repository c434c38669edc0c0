"""Stores with the methods that Synapse's has, in each shape, and what is around."""

from __future__ import annotations

import sqlite3
from typing import Any
from unittest import mock

from synapse_withheld.synapse_internals import SynapseInternals

LOCALLY = "add_local_messages_from_client_to_device_inbox"
REMOTELY = "add_remote_messages_from_client_to_device_inbox"
OUTBOX_CHANGES = "_device_federation_outbox_stream_cache"


class Store:
    """What is used of the store of Synapse 1.155 and later.

    Attributes:
        called: What those of its methods were called with that write or read.
    """

    def __init__(self) -> None:
        self.called: list[Any] = []
        self.db_pool = mock.Mock(**{"engine.module": sqlite3})
        self._device_federation_outbox_stream_cache = mock.Mock()

    async def add_messages_from_remote_to_device_inbox(
        self, origin: str, message_id: str, local_messages_by_user_then_device: Any
    ) -> int:
        self.called.append((origin, message_id, local_messages_by_user_then_device))
        return 1

    def _add_messages_to_local_device_inbox_txn(
        self, txn: Any, stream_id: int, messages_by_user_then_device: Any
    ) -> None:
        self.called.append((txn, stream_id, messages_by_user_then_device))

    async def add_local_messages_from_client_to_device_inbox(
        self, local_messages_by_user_then_device: Any
    ) -> int:
        self.called.append(local_messages_by_user_then_device)
        return 1

    async def add_remote_messages_from_client_to_device_inbox(
        self, remote_messages_by_destination: Any
    ) -> int:
        for destination in remote_messages_by_destination:
            getattr(self, OUTBOX_CHANGES).entity_has_changed(destination, 1)
        return 1

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


def store_with(**methods: Any) -> Any:
    """Return a store of which some methods are others."""
    return type("Other", (Store,), methods)()


def without_changes() -> Store:
    """Return a store whose outboxes' readers are told in another way."""
    store = Store()
    delattr(store, OUTBOX_CHANGES)
    return store


def api(store: Any, *, redis: bool = False) -> Any:
    homeserver = mock.Mock()
    homeserver.get_datastores.return_value.main = store
    homeserver.get_instance_name.return_value = "master"
    homeserver.config.worker.writers.to_device = ["master"]
    homeserver.config.redis.redis_enabled = redis
    return mock.Mock(_hs=homeserver, server_name="hs")


def intercepted(kept: Any = None, kept_edus: Any = None) -> tuple[Store, mock.Mock]:
    """Return a store, and the traffic that takes out what the test says."""

    async def store_left(local: Any, edus: Any, write: Any, _: Any = None) -> Any:
        kept_local = local if kept is None else kept
        return await write(kept_local, edus if kept_edus is None else kept_edus)

    store, traffic = Store(), mock.Mock(store=store_left)
    SynapseInternals(api(store)).intercept(traffic)
    return store, traffic

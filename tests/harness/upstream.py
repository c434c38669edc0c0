"""A Synapse module, for tests only: it adds the callback of docs/upstream.md.

As Synapse itself would have it: the methods of the store hand their messages to the
callback, with what stores them, and store them themselves where the callback fails
before it did.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Callable

logger = logging.getLogger(__name__)

UPSTREAM_MODULE = "tests.harness.upstream.UpstreamModule"


class UpstreamModule:
    """Adds the callback when the configuration is read."""

    def __init__(self, config: object, api: object) -> None:
        """Do nothing: the work is done by then."""

    @staticmethod
    def parse_config(config: dict[str, Any]) -> dict[str, Any]:
        """Change the classes, before any other module can have taken hold of them."""
        _add(fail=config.get("fail", False))
        return config


def _add(*, fail: bool) -> None:
    from synapse.module_api import ModuleApi  # noqa: PLC0415 only Synapse's process
    from synapse.storage.databases.main.deviceinbox import (  # noqa: PLC0415 the same
        DeviceInboxWorkerStore as Store,
    )

    registered: dict[str, Any] = {}

    def register_to_device_callbacks(
        self: ModuleApi,  # noqa: ARG001 as all of them have
        store_local_to_device_messages: Any = None,
        store_remote_to_device_messages: Any = None,
    ) -> None:
        registered["local"] = store_local_to_device_messages
        registered["remote"] = store_remote_to_device_messages

    api: Any = ModuleApi
    api.register_to_device_callbacks = register_to_device_callbacks
    for name, make in (
        ("add_local_messages_from_client_to_device_inbox", _local),
        ("add_remote_messages_from_client_to_device_inbox", _remote),
        ("add_messages_from_remote_to_device_inbox", _from_remote),
    ):
        _replace(Store, name, make, registered)
    _note_rows(Store)
    if fail:
        registered["fail"] = True


def _replace(owner: Any, name: str, make: Callable[..., Any], more: Any) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original, more)))


def _note_rows(owner: Any) -> None:
    """Note the stream ID at which rows are written, in the transaction."""
    name = "_add_messages_to_local_device_inbox_txn"
    original = getattr(owner, name)

    @functools.wraps(original)
    def add_rows(self: Any, txn: Any, stream_id: int, messages: Any) -> None:
        original(self, txn, stream_id, messages)
        if (written := _of_transaction.get(id(messages))) is not None:
            written.append(stream_id)

    setattr(owner, name, add_rows)


# By the identity of the messages that a transaction is about: it runs in a thread.
_of_transaction: dict[int, list[int]] = {}


async def _call(callback: Any, *arguments: Any, store: Any, messages: Any) -> None:
    """Call back; what fails before anything was stored is stored as it is."""
    stored = False

    async def once(kept: Any) -> int | None:
        nonlocal stored
        assert not stored, "stored twice"
        stored = True
        found: int | None = await store(kept)
        return found

    try:
        await callback(*arguments, once)
    except Exception:
        if stored:
            raise
        logger.exception("A callback failed; the messages are stored as they are")
        await store(messages)


def _local(original: Any, registered: dict[str, Any]) -> Any:
    async def add_local(self: Any, local_messages_by_user_then_device: Any) -> Any:
        messages = local_messages_by_user_then_device
        token = self.get_to_device_stream_token

        async def store(kept: Any) -> int | None:
            return await _storing(kept, original(self, kept))

        callback = _of(registered, "local")
        if callback is None:
            return await original(self, messages)
        await _call(callback, messages, None, store=store, messages=messages)
        return token()

    return add_local


def _from_remote(original: Any, registered: dict[str, Any]) -> Any:
    async def add_from_remote(
        self: Any,
        origin: str,
        message_id: str,
        local_messages_by_user_then_device: Any,
    ) -> Any:
        messages = local_messages_by_user_then_device

        async def store(kept: Any) -> int | None:
            return await _storing(kept, original(self, origin, message_id, kept))

        callback = _of(registered, "local")
        if callback is None:
            return await original(self, origin, message_id, messages)
        await _call(callback, messages, origin, store=store, messages=messages)
        return self.get_to_device_stream_token()

    return add_from_remote


def _remote(original: Any, registered: dict[str, Any]) -> Any:
    async def add_remote(self: Any, remote_messages_by_destination: Any) -> Any:
        edus = remote_messages_by_destination

        async def store(left: Any) -> int | None:
            token: int = await original(self, left)
            return token if left else None

        callback = _of(registered, "remote")
        if callback is None:
            return await original(self, edus)
        await _call(callback, edus, store=store, messages=edus)
        return self.get_to_device_stream_token()

    return add_remote


def _of(registered: dict[str, Any], kind: str) -> Any:
    if "fail" in registered:
        return _failing
    return registered.get(kind)


async def _failing(*_: Any) -> None:
    raise RuntimeError("a module that is broken")


async def _storing(kept: Any, storing: Any) -> int | None:
    written: list[int] = []
    _of_transaction[id(kept)] = written
    try:
        await storing
    finally:
        del _of_transaction[id(kept)]
    return written[-1] if written else None

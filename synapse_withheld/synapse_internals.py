"""The only file that touches Synapse's private names; it checks them first.

Synapse has no callback for to-device messages, so the methods of its store that
queue them are wrapped, on the one store object that a process has.
"""

from __future__ import annotations

import inspect
import time
from functools import partial, wraps
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Awaitable, Callable, Dict, Tuple

from synapse.logging.context import PreserveLoggingContext
from synapse.module_api import (
    ModuleApi,
    make_deferred_yieldable,
    run_as_background_process,
)
from synapse.module_api.errors import ConfigError

from synapse_withheld import wrappers
from synapse_withheld.delivery.runtime import Runtime, now_ts
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.wrappers import LOCAL, ORIGIN, REMOTE

# Parameters by the name of the method.
Signatures = Dict[str, Tuple[str, ...]]

_WRITES_ROWS = "_add_messages_to_local_device_inbox_txn"

# The methods of the store, with the parameters that they take in every version
# that was tested. Those that store what comes from other servers:
_FROM_OTHERS: Signatures = {
    "add_messages_from_remote_to_device_inbox": (ORIGIN, "message_id", LOCAL)
}
# What comes from clients, in one transaction for all servers: 1.98 to 1.153.
_TOGETHER: Signatures = {"add_messages_to_device_inbox": (LOCAL, REMOTE)}
# The same, each by itself: 1.155 and later.
_APART: Signatures = {
    "add_local_messages_from_client_to_device_inbox": (LOCAL,),
    "add_remote_messages_from_client_to_device_inbox": (REMOTE,),
}
_EVERYWHERE: Signatures = {
    _WRITES_ROWS: ("txn", "stream_id", "messages_by_user_then_device"),
    "get_to_device_stream_token": (),
    "get_device_stream_token": (),
    "get_app_services": (),
}

# All through which the content of mailboxes is handed out. Without them the module
# acts all the same.
_READ_DEVICE = "get_messages_for_device"
_READ_USERS = "get_messages_for_user_devices"
_READS = {
    _READ_DEVICE: ("user_id", "device_id", "from_stream_id", "to_stream_id", "limit"),
    _READ_USERS: ("user_ids", "from_stream_id", "to_stream_id"),
}

# On the store, not on the wrappers: those of other modules may hide them.
_MARK = "_synapse_withheld_intercepts"

# What tells Synapse's own readers that an outbox has a new row, once it has.
_OUTBOX_CHANGES = "_device_federation_outbox_stream_cache"
_OUTBOX_CHANGED = "entity_has_changed"


class UnknownSynapseError(Exception):
    """The internals of this Synapse are not the ones that were tested."""


def synapse_version() -> str:
    """Return the version of the Synapse that is installed, `unknown` if untold."""
    try:
        return version("matrix-synapse")
    except PackageNotFoundError:
        return "unknown"


def parse_listener(number: int, entry: Any) -> Any:
    """Return a listener of the configuration as Synapse reads it, for the commands.

    Raises:
        UnknownSynapseError: Nobody knows how this Synapse reads it.
        Exception: Synapse does not start with it; the message says why.
    """
    # The module itself does without.
    parse = getattr(import_module("synapse.config.server"), "parse_listener_def", None)
    if parse is None:
        raise UnknownSynapseError("it reads listeners in a way that is not known")
    return parse(number, entry)


class SynapseInternals:
    """What the module uses of a running Synapse beyond its module API.

    Attributes:
        writers: The names of the processes that write to-device messages.
        database_driver: The name of the database's driver: `sqlite3` or `psycopg2`.
        stream_token: Returns the position up to which readers see to-device messages.
        sees_reads: Whether every read of a mailbox passes this process.
    """

    def __init__(self, api: ModuleApi) -> None:
        """Look up the homeserver and its store.

        Raises:
            UnknownSynapseError: They are not where they were.
            ConfigError: The store's methods are wrapped already.
        """
        try:
            homeserver: Any = api._hs  # noqa: SLF001 no public way to it
            store = homeserver.get_datastores().main
            self.writers: list[str] = homeserver.config.worker.writers.to_device
            self.process_name: str = homeserver.get_instance_name()
            self.database_driver: str = store.db_pool.engine.module.__name__
        except AttributeError as error:
            raise UnknownSynapseError(str(error)) from error
        differences = _differences_in_writing(store)
        if differences or not isinstance(self.writers, list):
            raise UnknownSynapseError("; ".join(differences) or "no list of writers")
        if hasattr(store, _MARK):
            twice = "the module is loaded twice; 'modules' must name it once"
            raise ConfigError(f"synapse_withheld: {twice}")
        self._api, self._homeserver, self._store = api, homeserver, store
        self.stream_token: Callable[[], int] = store.get_to_device_stream_token
        # Workers, which read for themselves, do not start without Redis.
        redis = getattr(homeserver.config, "redis", None)
        has_workers = getattr(redis, "redis_enabled", True)
        self.sees_reads = not has_workers and not _differences(store, _READS)

    def is_admin(self) -> Callable[[Any], Awaitable[bool]]:
        """Return what Synapse's own admin API asks: whether a request is an admin's.

        With delegated authentication it goes by the access token, not by the table
        `users`, which the module API looks into.

        Raises:
            UnknownSynapseError: It is not where it was.
        """
        try:
            auth = self._homeserver.get_auth()
        except AttributeError as error:
            raise UnknownSynapseError(str(error)) from error
        if differences := _differences(auth, {"is_server_admin": ("requester",)}):
            raise UnknownSynapseError("; ".join(differences))
        asked: Callable[[Any], Awaitable[bool]] = auth.is_server_admin
        return asked

    def device_list_id(self) -> int:
        """Return the position of the device list stream that all writers reached."""
        token = self._store.get_device_stream_token()
        position: int = getattr(token, "stream", token)
        return position

    def reader_never_acknowledges(self, user_id: str) -> bool:
        """Say whether an application service reads a user's mailboxes.

        It reads by position, and its rows are never deleted. One that asked for
        no more than events of rooms reads none.
        """
        # The second flag is only in some versions; in doubt it may.
        return any(
            service.is_interested_in_user(user_id)
            for service in self._store.get_app_services()
            if getattr(service, "supports_ephemeral", True)
            or getattr(service, "supports_unstable_ephemeral", False)
        )

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement outside any transaction."""
        return await self._store.db_pool.runInteraction(
            description, function, *arguments, db_autocommit=True
        )

    @staticmethod
    def connection_of(txn: Any) -> Any:
        """Return the driver's connection that a transaction runs on, if it is there."""
        return getattr(getattr(txn, "txn", None), "connection", None)

    def runtime(self) -> Runtime:
        as_process = getattr(self._api, "run_as_background_process", None)
        return Runtime(
            call_later=self._homeserver.get_reactor().callLater,
            as_process=as_process or run_as_background_process,
            yieldable=make_deferred_yieldable,
            outside_any_log_context=PreserveLoggingContext,
            sleep=self._api.sleep,
            seconds=time.monotonic,
            now_ts=now_ts,
        )

    def intercept(self, traffic: Traffic) -> None:
        """Have all to-device messages go through the module before they are queued."""
        store, token = self._store, self.stream_token
        setattr(store, _MARK, True)
        _wrap(store, _WRITES_ROWS, wrappers.observing)
        _wrap(getattr(store, _OUTBOX_CHANGES), _OUTBOX_CHANGED, wrappers.noting_row)
        for name, parameters in _sending(store).items():
            _wrap(store, name, partial(wrappers.sending, traffic, token, parameters))
        if self.sees_reads:
            _wrap(store, _READ_DEVICE, partial(wrappers.reading_device, traffic))
            _wrap(store, _READ_USERS, partial(wrappers.reading_users, traffic))


def _sending(store: Any) -> Signatures:
    """Return the methods through which a store of this version stores messages."""
    is_together = any(hasattr(store, name) for name in _TOGETHER)
    return {**_FROM_OTHERS, **(_TOGETHER if is_together else _APART)}


def _differences_in_writing(store: Any) -> list[str]:
    differences = _differences(store, {**_EVERYWHERE, **_sending(store)})
    changes = getattr(store, _OUTBOX_CHANGES, None)
    if not callable(getattr(changes, _OUTBOX_CHANGED, None)):
        differences.append(f"no {_OUTBOX_CHANGES}.{_OUTBOX_CHANGED}")
    return differences


def _differences(part: Any, expected: Signatures) -> list[str]:
    """Return how some methods of a part of Synapse differ from those tested."""
    differences = []
    for name, parameters in expected.items():
        # The class's own: another module may have wrapped the object's.
        method = getattr(type(part), name, None)
        if method is None:
            differences.append(f"no method {name}")
            continue
        found = tuple(inspect.signature(method).parameters)[1:]
        if found != parameters:
            differences.append(f"{name} takes {found}, not {parameters}")
    return differences


def _wrap(store: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(store, name)
    setattr(store, name, wraps(original)(make(original)))

"""The only file that touches Synapse's private names; it checks them first.

Synapse has no callback for to-device messages, so the methods of its store that
queue them are wrapped, on the one store object that a process has.
"""

from __future__ import annotations

import functools
import inspect
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Callable

import attrs
from synapse.logging.context import PreserveLoggingContext
from synapse.module_api import (
    ModuleApi,
    make_deferred_yieldable,
    run_as_background_process,
    run_in_background,
)

from synapse_withheld.batch import LocalMessages, ObservedBatch
from synapse_withheld.collapser import Write
from synapse_withheld.traffic import Traffic
from synapse_withheld.waiting import Runtime

_LOCAL = "local_messages_by_user_then_device"
_REMOTE = "remote_messages_by_destination"
_WRITES_ROWS = "_add_messages_to_local_device_inbox_txn"
_FROM_REMOTE = "add_messages_from_remote_to_device_inbox"
_TOGETHER_NAME = "add_messages_to_device_inbox"
_LOCAL_NAME = "add_local_messages_from_client_to_device_inbox"
_REMOTE_NAME = "add_remote_messages_from_client_to_device_inbox"

# The methods of the store, with the parameters that they take in every version
# that was tested: those of all versions, and one set or the other.
_EVERYWHERE = {
    _FROM_REMOTE: ("origin", "message_id", _LOCAL),
    _WRITES_ROWS: ("txn", "stream_id", "messages_by_user_then_device"),
    "get_to_device_stream_token": (),
    "get_device_stream_token": (),
    "get_app_services": (),
}
# One transaction for the devices of all servers: 1.98 to 1.153.
_TOGETHER = {_TOGETHER_NAME: (_LOCAL, _REMOTE)}
# Each by itself: 1.155 and later.
_APART = {_LOCAL_NAME: (_LOCAL,), _REMOTE_NAME: (_REMOTE,)}

# Before this version Synapse stored messages whose sender was not on the server
# that sent them.
_SPOOFS_DROPPED_SINCE = (1, 157, 2)

_MARK = "_synapse_withheld_original"


class UnknownSynapseError(Exception):
    """The internals of this Synapse are not the ones that were tested."""


class AlreadyLoadedError(Exception):
    """The module was loaded before in this process."""


def synapse_version() -> str:
    """Return the version of the Synapse that is installed, `unknown` if untold."""
    try:
        return version("matrix-synapse")
    except PackageNotFoundError:
        return "unknown"


def spoofs_possible(synapse: str) -> bool:
    """Say whether a version of Synapse may have stored spoofed senders."""
    numbers = synapse.partition("rc")[0].split(".")
    try:
        return tuple(int(number) for number in numbers) < _SPOOFS_DROPPED_SINCE
    except ValueError:
        return True


@attrs.frozen(init=False)
class SynapseInternals:
    """What the module uses of a running Synapse beyond its module API."""

    _api: ModuleApi
    _homeserver: Any
    _store: Any

    def __init__(self, api: ModuleApi) -> None:
        """Look up the homeserver and its store.

        Raises:
            UnknownSynapseError: They are not where they were.
            AlreadyLoadedError: The store's methods are wrapped already.
        """
        try:
            homeserver = api._hs  # noqa: SLF001 no public way to it
            store = homeserver.get_datastores().main
            writers = homeserver.config.worker.writers.to_device
        except AttributeError as error:
            raise UnknownSynapseError(str(error)) from error
        self.__attrs_init__(api, homeserver, store)
        differences = _differences(store)
        if differences or not isinstance(writers, list):
            raise UnknownSynapseError("; ".join(differences) or "no list of writers")
        if hasattr(getattr(store, _WRITES_ROWS), _MARK):
            raise AlreadyLoadedError(
                "synapse_withheld: the module is loaded twice; 'modules' must name "
                "it once"
            )

    @property
    def writers(self) -> list[str]:
        """Return the names of the processes that write to-device messages."""
        writers: list[str] = self._homeserver.config.worker.writers.to_device
        return writers

    @property
    def process_name(self) -> str:
        """Return the name of this process."""
        name: str = self._homeserver.get_instance_name()
        return name

    def stream_token(self) -> int:
        """Return the position up to which readers see to-device messages."""
        token: int = self._store.get_to_device_stream_token()
        return token

    def device_list_id(self) -> int:
        """Return the position of the device list stream that all writers reached."""
        token = self._store.get_device_stream_token()
        position: int = getattr(token, "stream", token)
        return position

    def keeps_messages(self, user_id: str) -> bool:
        """Say whether an application service reads a user's mailboxes.

        It reads by position, and its rows are never deleted.
        """
        return any(
            service.is_interested_in_user(user_id)
            for service in self._store.get_app_services()
        )

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement outside any transaction."""
        return await self._store.db_pool.runInteraction(
            description, function, *arguments, db_autocommit=True
        )

    def runtime(self) -> Runtime:
        """Return how this homeserver runs things."""
        as_process = getattr(self._api, "run_as_background_process", None)
        return Runtime(
            call_later=self._homeserver.get_reactor().callLater,
            in_background=run_in_background,
            as_process=as_process or run_as_background_process,
            yieldable=make_deferred_yieldable,
            apart=PreserveLoggingContext,
            sleep=self._api.sleep,
            seconds=time.monotonic,
        )

    def intercept(self, traffic: Traffic) -> None:
        """Wrap the methods that queue to-device messages."""
        store = self._store
        _wrap(store, _WRITES_ROWS, _observing)
        _wrap(store, _FROM_REMOTE, functools.partial(_from_remote, traffic))
        if hasattr(store, _TOGETHER_NAME):
            _wrap(store, _TOGETHER_NAME, functools.partial(_together, traffic, self))
        else:
            _wrap(store, _LOCAL_NAME, functools.partial(_to_local, traffic, self))
            _wrap(store, _REMOTE_NAME, functools.partial(_to_remote, traffic))


def _differences(store: Any) -> list[str]:
    """Return how the store's methods differ from the ones that were tested."""
    expected = {
        **_EVERYWHERE,
        **(_TOGETHER if hasattr(store, _TOGETHER_NAME) else _APART),
    }
    differences = []
    for name, parameters in expected.items():
        # The class's own: another module may have wrapped the object's.
        method = getattr(type(store), name, None)
        if method is None:
            differences.append(f"no method {name}")
            continue
        found = tuple(inspect.signature(method).parameters)[1:]
        if found != parameters:
            differences.append(f"{name} takes {found}, not {parameters}")
    return differences


def _wrap(store: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(store, name)
    wrapper = functools.wraps(original)(make(original))
    setattr(wrapper, _MARK, original)
    setattr(store, name, wrapper)


def _observing(original: Any) -> Any:
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


def _from_remote(traffic: Traffic, original: Any) -> Any:
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


def _to_local(traffic: Traffic, synapse: SynapseInternals, original: Any) -> Any:
    async def write(kept: LocalMessages) -> Any:
        return await original(kept) if kept else synapse.stream_token()

    async def add_local_messages(local_messages_by_user_then_device: Any) -> Any:
        local = local_messages_by_user_then_device
        if traffic.decides_about(local):
            return await _store_and_trim(traffic, local, write)
        return await traffic.to_local(local, original)

    return add_local_messages


def _to_remote(traffic: Traffic, original: Any) -> Any:
    async def add_remote_messages(remote_messages_by_destination: Any) -> Any:
        marks = traffic.marks_to_remote(remote_messages_by_destination)
        traffic.rearm(marks, count=True)
        try:
            return await original(remote_messages_by_destination)
        finally:
            traffic.rearm(marks)

    return add_remote_messages


def _together(traffic: Traffic, synapse: SynapseInternals, original: Any) -> Any:
    async def add_messages(
        local_messages_by_user_then_device: Any, remote_messages_by_destination: Any
    ) -> Any:
        local, remote = (
            local_messages_by_user_then_device,
            remote_messages_by_destination,
        )

        async def write(kept: LocalMessages) -> Any:
            if kept or remote or not local:
                return await original(kept, remote)
            return synapse.stream_token()

        async def add_both(_: Any) -> Any:
            if traffic.decides_about(local):
                return await _store_and_trim(traffic, local, write)
            return await traffic.to_local(local, write)

        return await _to_remote(traffic, add_both)(remote)

    return add_messages


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

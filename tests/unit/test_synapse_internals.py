"""Wrapping the store's methods, on the shapes that they have and on others."""

from __future__ import annotations

import asyncio
import types
from typing import Any

import pytest
from synapse.module_api.errors import ConfigError

from synapse_withheld import WithheldModule, synapse_internals, wrappers
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import ObservedBatch
from synapse_withheld.operators.metrics import ACTIVE, SERVER_NAME_LABEL
from synapse_withheld.synapse_internals import (
    SynapseInternals,
    UnknownSynapseError,
    spoofs_possible,
)


class Changes:
    """What tells readers of the outboxes that there is something new."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def entity_has_changed(self, entity: str, stream_pos: int) -> None:
        self.told.append((entity, stream_pos))


class _Everywhere:
    """What the store has in every version."""

    def __init__(self) -> None:
        self.called: list[Any] = []
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

    def get_to_device_stream_token(self) -> int:
        return 42

    def get_device_stream_token(self) -> int:
        return 7

    def get_app_services(self) -> list[Any]:
        return []


class Apart(_Everywhere):
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


class Together(_Everywhere):
    """The store of Synapse 1.98 to 1.153."""

    async def add_messages_to_device_inbox(
        self,
        local_messages_by_user_then_device: Any,
        remote_messages_by_destination: Any,
    ) -> int:
        local, remote = (
            local_messages_by_user_then_device,
            remote_messages_by_destination,
        )
        self.called.append((local, remote))
        return 1


class Renamed(Apart):
    """A Synapse to come."""

    async def add_local_messages_from_client_to_device_inbox(
        self, messages: Any
    ) -> int:
        return len(messages)


class WithoutChanges(Apart):
    """A Synapse whose outboxes' readers are told in another way."""

    def __init__(self) -> None:
        super().__init__()
        del self._device_federation_outbox_stream_cache


class Traffic:
    """Takes out what the test says, and notes what passes."""

    def __init__(self, kept: Any = None, kept_edus: Any = None) -> None:
        self.kept = kept
        self.kept_edus = kept_edus
        self.batch = ObservedBatch()

    def decides_about(self, messages: Any) -> bool:
        return bool(messages)

    async def to_local(self, messages: Any, write: Any, origin: Any = None) -> Any:
        self.origin = origin
        return await write(messages if self.kept is None else self.kept)

    async def to_remote(self, edus: Any, write: Any) -> Any:
        if self.kept_edus is None:
            return await write(edus, None)
        return await write(self.kept_edus, self.batch)


def api(store: Any, *, name: str = "master", writers: Any = ("master",)) -> Any:
    """Return a module API over a store."""
    worker = types.SimpleNamespace(
        writers=types.SimpleNamespace(to_device=list(writers))
    )
    homeserver = types.SimpleNamespace(
        get_datastores=lambda: types.SimpleNamespace(main=store),
        get_instance_name=lambda: name,
        get_reactor=lambda: types.SimpleNamespace(callLater=None),
        config=types.SimpleNamespace(worker=worker),
    )
    return types.SimpleNamespace(_hs=homeserver, server_name="hs", sleep=None)


def intercepted(store: Any, traffic: Any) -> Any:
    """Wrap a store's methods."""
    SynapseInternals(api(store)).intercept(traffic)
    return store


def active() -> float:
    """Return the gauge."""
    labels = {SERVER_NAME_LABEL: "hs"} if SERVER_NAME_LABEL else {}
    metric = ACTIVE.labels(**labels) if labels else ACTIVE
    return float(next(iter(metric.collect())).samples[0].value)


def test_finding_9_what_is_left_is_stored_and_only_its_users_are_woken() -> None:
    """Synapse wakes the users that are left in the dict it passed."""
    messages: Any = {"@a:hs": {"A": {}}, "@b:hs": {"B": {}}}
    store = intercepted(Apart(), Traffic(kept={"@a:hs": {"A": {}}}))

    asyncio.run(store.add_local_messages_from_client_to_device_inbox(messages))

    assert [{"@a:hs": {"A": {}}}] == store.called
    assert ["@a:hs"] == list(messages)


def test_with_nothing_left_of_a_local_batch_nothing_is_written() -> None:
    """The answer is the stream's current position."""
    messages: Any = {"@a:hs": {"A": {}}}
    store = intercepted(Apart(), Traffic(kept={}))

    answer = asyncio.run(store.add_local_messages_from_client_to_device_inbox(messages))

    assert (42, [], {}) == (answer, store.called, messages)


def test_an_empty_batch_is_written_as_by_stock_synapse() -> None:
    """Only what collapsed is left out."""
    store = intercepted(Apart(), Traffic())

    asyncio.run(store.add_local_messages_from_client_to_device_inbox({}))

    assert [{}] == store.called


def test_an_edu_of_which_nothing_is_left_is_still_recorded() -> None:
    """So that a retransmission stays idempotent."""
    traffic = Traffic(kept={})
    store = intercepted(Apart(), traffic)
    method = store.add_messages_from_remote_to_device_inbox
    asyncio.run(method("there", "id", {"@a:hs": {"A": {}}}))

    assert [("there", "id", {})] == store.called
    assert traffic.origin == "there"


@pytest.mark.parametrize(
    ("remote", "kept_edus", "called"),
    [
        ({}, None, []),
        ({"there": {}}, None, [({}, {"there": {}})]),
        ({"there": {}}, {}, []),
        ({"there": {}, "far": {}}, {"far": {}}, [({}, {"far": {}})]),
    ],
)
def test_the_older_shape_writes_what_is_left_for_either(
    remote: Any, kept_edus: Any, called: Any
) -> None:
    """One call for both; nothing is lost of the half that has something left."""
    store = intercepted(Together(), Traffic(kept={}, kept_edus=kept_edus))

    asyncio.run(store.add_messages_to_device_inbox({"@a:hs": {"A": {}}}, remote))

    assert called == store.called


def test_the_older_shape_writes_an_empty_call_as_stock_synapse() -> None:
    """Only what collapsed is left out."""
    store = intercepted(Together(), Traffic())

    asyncio.run(store.add_messages_to_device_inbox({}, {}))

    assert [({}, {})] == store.called


def test_edus_pass_untouched() -> None:
    """The very object, where nothing was decided about them."""
    store = intercepted(Apart(), Traffic())
    edus: Any = {"there": {}}

    asyncio.run(store.add_remote_messages_from_client_to_device_inbox(edus))

    assert store.called[0] is edus


def test_the_row_of_an_edu_is_observed() -> None:
    """Synapse tells its readers at which stream ID, once it is written."""
    traffic = Traffic(kept_edus={"there": {}})
    store = intercepted(Apart(), traffic)

    asyncio.run(store.add_remote_messages_from_client_to_device_inbox({}))

    assert traffic.batch.stream_id == 1
    changes = store._device_federation_outbox_stream_cache
    assert [("there", 1)] == changes.told
    # Another task's row, meanwhile or later, is not this batch's.
    changes.entity_has_changed("there", 2)
    assert traffic.batch.stream_id == 1


def test_with_nothing_left_of_an_edu_nothing_is_written() -> None:
    """The answer is the stream's current position."""
    store = intercepted(Apart(), Traffic(kept_edus={}))
    method = store.add_remote_messages_from_client_to_device_inbox

    assert (42, []) == (asyncio.run(method({"there": {}})), store.called)


def test_rows_are_observed_afresh_at_each_attempt() -> None:
    """What an attempt that failed wrote does not count."""
    store = intercepted(Apart(), Traffic())
    batch = ObservedBatch()
    store._add_messages_to_local_device_inbox_txn(None, 5, batch)
    assert batch.stream_id == 5

    failing = Apart()
    failing._add_messages_to_local_device_inbox_txn = None  # type: ignore[method-assign,assignment]
    synapse_internals._wrap(
        failing, "_add_messages_to_local_device_inbox_txn", wrappers.observing
    )
    with pytest.raises(TypeError):
        failing._add_messages_to_local_device_inbox_txn(None, 6, batch)
    assert batch.stream_id is None


@pytest.mark.parametrize(
    "store", [Renamed(), object(), _Everywhere(), WithoutChanges()]
)
def test_an_unknown_synapse_is_left_alone(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once at ERROR, and the gauge is 0."""
    WithheldModule(Config(), api(store))

    assert [40] == [record.levelno for record in caplog.records]
    assert "does not act" in caplog.text
    assert active() == 0


def test_an_unknown_synapse_is_refused_where_the_operator_wants_that() -> None:
    """The error says what differs and what to do."""
    with pytest.raises(ConfigError, match=r"takes \('messages',\).*deliver"):
        WithheldModule(Config(on_unknown_synapse="refuse"), api(Renamed()))


def test_without_a_homeserver_behind_the_api_synapse_is_unknown() -> None:
    """The private name may go."""
    with pytest.raises(UnknownSynapseError):
        SynapseInternals(types.SimpleNamespace())  # type: ignore[arg-type]


def test_only_the_writer_acts(caplog: pytest.LogCaptureFixture) -> None:
    """Others say once which process does."""
    store = Apart()
    with caplog.at_level("INFO"):
        WithheldModule(Config(), api(store, name="sync1", writers=["todevice1"]))

    assert "it is sync1, and to-device messages are written by todevice1" in caplog.text
    assert active() == 0
    wrapped = vars(store).keys() | vars(store._device_federation_outbox_stream_cache)
    assert not [name for name in wrapped if name.endswith(("inbox", "txn", "changed"))]


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({"supports_ephemeral": True}, True),
        ({"supports_ephemeral": False}, False),
        ({"supports_ephemeral": False, "supports_unstable_ephemeral": True}, True),
        ({}, True),
    ],
)
def test_only_services_that_read_mailboxes_keep_messages(
    flags: dict[str, bool], kept: bool
) -> None:
    """A bridge that asked for no more than events of rooms changes nothing."""
    store = Apart()
    mine = "@bridged:hs"
    service = types.SimpleNamespace(is_interested_in_user=mine.__eq__, **flags)
    store.get_app_services = lambda: [service]  # type: ignore[method-assign]
    synapse = SynapseInternals(api(store))

    assert synapse.reader_never_acknowledges(mine) is kept
    assert not synapse.reader_never_acknowledges("@another:hs")


def test_loading_it_twice_is_refused() -> None:
    """With a clear error."""
    store = Apart()
    WithheldModule(Config(), api(store))

    assert active() == 1
    with pytest.raises(ConfigError, match="loaded twice"):
        WithheldModule(Config(), api(store))


@pytest.mark.parametrize(
    ("version", "possible"),
    [
        ("1.98.0", True),
        ("1.157.1", True),
        ("1.157.2", False),
        ("1.163.2", False),
        ("1.164.0rc1", False),
        ("unknown", True),
        ("2.0.0", False),
    ],
)
def test_old_versions_may_have_stored_spoofed_senders(
    version: str, possible: bool
) -> None:
    """In doubt they may."""
    assert possible == spoofs_possible(version)

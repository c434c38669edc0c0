"""What is used of Synapse's internals, and what becomes of it where they differ."""

from __future__ import annotations

import sqlite3
from typing import Any
from unittest import mock

import pytest
from synapse.module_api.errors import ConfigError
from synapse.storage.databases.main import DataStore

from synapse_withheld import WithheldModule, wrappers
from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import ObservedBatch
from synapse_withheld.operators.series import ACTIVE, SERVER_NAME_LABEL
from synapse_withheld.synapse_internals import SynapseInternals

LOCALLY = "add_local_messages_from_client_to_device_inbox"
REMOTELY = "add_remote_messages_from_client_to_device_inbox"
OUTBOX_CHANGES = "_device_federation_outbox_stream_cache"


# The methods of the store that are used, and what they answer.
METHODS: dict[str, Any] = {
    LOCALLY: 1,
    REMOTELY: None,
    "add_messages_from_remote_to_device_inbox": None,
    "_add_messages_to_local_device_inbox_txn": None,
    "get_messages_for_device": 9,
    "get_messages_for_user_devices": 9,
    "get_to_device_stream_token": 42,
    "get_device_stream_token": None,
    "get_app_services": [],
}


def store_with(**methods: Any) -> Any:
    """Return a store of which some methods are others."""
    store: Any = type("Store", (), {})()
    store.calls = mock.Mock()
    for name, answer in METHODS.items():
        method = mock.create_autospec(getattr(DataStore, name), return_value=answer)
        store.calls.attach_mock(method, name)
        setattr(type(store), name, methods.get(name, method))
    store.db_pool = mock.Mock(**{"engine.module": sqlite3})
    setattr(store, OUTBOX_CHANGES, mock.Mock())
    return store


def calls_of(store: Any) -> list[Any]:
    """Return what its methods were called with, in that order."""
    return [(*args[1:], *named.values()) for _, args, named in store.calls.mock_calls]


def api(store: Any, *, redis: bool = False) -> Any:
    homeserver = mock.Mock()
    homeserver.get_datastores.return_value.main = store
    homeserver.get_instance_name.return_value = "master"
    homeserver.config.worker.writers.to_device = ["master"]
    homeserver.config.redis.redis_enabled = redis
    return mock.Mock(_hs=homeserver, server_name="hs")


def intercepted(
    kept: Any = None, kept_edus: Any = None, **methods: Any
) -> tuple[Any, mock.Mock]:
    """Return a store, and the traffic that takes out what the test says."""

    async def store_left(local: Any, edus: Any, write: Any, _: Any) -> Any:
        kept_local = local if kept is None else kept
        return await write(kept_local, edus if kept_edus is None else kept_edus)

    store, traffic = store_with(**methods), mock.Mock(store=store_left)
    SynapseInternals(api(store)).intercept(traffic)
    return store, traffic


def active() -> float:
    labels = {SERVER_NAME_LABEL: "hs"} if SERVER_NAME_LABEL else {}
    metric = ACTIVE.labels(**labels) if labels else ACTIVE
    return float(next(iter(metric.collect())).samples[0].value)


READS_OTHERWISE = {"get_messages_for_device": lambda _, place, limit: [place, limit]}


@pytest.mark.parametrize(
    ("store", "redis"), [(store_with(), True), (store_with(**READS_OTHERWISE), False)]
)
def test_where_reads_are_not_seen_the_module_acts_all_the_same(
    store: Any, redis: bool
) -> None:
    """With workers, or where reads take another way: nothing is wrapped for them."""
    synapse = SynapseInternals(api(store, redis=redis))

    assert not synapse.sees_reads
    synapse.intercept(mock.Mock())
    assert not [name for name in vars(store) if name.startswith("get_messages")]
    assert LOCALLY in vars(store)


RENAMED = {LOCALLY: lambda _, messages: len(messages)}
# Of one whose outboxes' readers are told in another way.
OTHER_OUTBOX = store_with()
delattr(OTHER_OUTBOX, OUTBOX_CHANGES)


@pytest.mark.parametrize(
    "found",
    [
        api(store_with(**RENAMED)),
        api(store_with(**{REMOTELY: None})),
        api(OTHER_OUTBOX),
        api(object()),
        # Without a homeserver behind it.
        mock.Mock(spec=["server_name"], server_name="hs"),
    ],
)
def test_an_unknown_synapse_is_left_alone(
    found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once at ERROR, and the gauge is 0."""
    # One that acts, for a gauge that is not 0 anyway.
    WithheldModule(Config(pages=False), api(store_with()))
    WithheldModule(Config(), found)

    assert ["ERROR"] == [record.levelname for record in caplog.records]
    assert "does not act" in caplog.text
    assert active() == 0


def test_an_unknown_synapse_is_refused_where_the_operator_wants_that() -> None:
    """The error says what differs and what to do."""
    found = api(store_with(**RENAMED))
    with pytest.raises(ConfigError, match=r"takes \('messages',\).*deliver"):
        WithheldModule(Config(on_unknown_synapse="refuse"), found)


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
    mine, called = "@bridged:hs", ["is_interested_in_user", *flags]
    service = mock.Mock(spec=called, is_interested_in_user=mine.__eq__, **flags)
    synapse = SynapseInternals(api(store_with(get_app_services=lambda _: [service])))

    assert synapse.reader_never_acknowledges(mine) is kept
    assert not synapse.reader_never_acknowledges("@another:hs")


def test_loading_it_twice_is_refused() -> None:
    store = store_with()
    WithheldModule(Config(), api(store))

    assert active() == 1
    with pytest.raises(ConfigError, match="loaded twice"):
        WithheldModule(Config(), api(store))


@pytest.mark.parametrize(
    ("homeserver", "why"),
    [
        ({"get_auth.side_effect": AttributeError("get_auth")}, "(get_auth)"),
        ({"get_auth.return_value": object()}, "(no method is_server_admin"),
    ],
)
def test_where_nobody_can_be_asked_no_pages_are_served(
    homeserver: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, in one line, and the module acts."""
    found = api(store_with())
    found._hs.configure_mock(**homeserver)
    with caplog.at_level("INFO"):
        WithheldModule(Config(), found)

    [error] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert (True, None) == (why in error.getMessage(), error.exc_info)
    assert "acts on to-device messages" in caplog.text
    assert [] == found.register_web_resource.mock_calls


# What the wrapped methods do.

MESSAGES: Any = {"@a:hs": {"A": {}}, "@b:hs": {"B": {}}}
LEFT: Any = {"@a:hs": {"A": {}}}


@pytest.mark.parametrize(
    ("sent", "kept", "answer", "called"),
    [
        (MESSAGES, LEFT, 1, [(LEFT,)]),
        # The answer is the stream's current position, which alone is asked for.
        (MESSAGES, {}, 42, [()]),
        # As by stock Synapse: only what collapsed is left out.
        ({}, None, 1, [({},)]),
    ],
)
def test_what_is_left_is_stored_and_only_its_users_are_woken(
    sent: Any, kept: Any, answer: int, called: Any
) -> None:
    """Synapse wakes the users that are left in the dict it passed."""
    passed = dict(sent)
    store, _ = intercepted(kept)

    given = driven(getattr(store, LOCALLY)(passed))
    assert (answer, called) == (given, calls_of(store))
    assert passed.keys() == (kept or {}).keys()


def test_an_edu_of_which_nothing_is_left_is_stored_for_its_message_id() -> None:
    """However Synapse passes it."""
    store, _ = intercepted({})
    store_edu, named = store.add_messages_from_remote_to_device_inbox, dict(MESSAGES)
    driven(store_edu("there", "id", local_messages_by_user_then_device=named))
    assert ([("there", "id", {})], {}) == (calls_of(store), named)


def test_the_row_of_an_edu_is_observed() -> None:
    """Synapse tells its readers at which stream ID, once it is written."""

    async def write(self: Any, remote_messages_by_destination: Any) -> None:
        for destination in remote_messages_by_destination:
            getattr(self, OUTBOX_CHANGES).entity_has_changed(destination, 1)

    edus = ObservedBatch({"there": {}})
    store, _ = intercepted(kept_edus=edus, **{REMOTELY: write})
    has_changed = getattr(store, OUTBOX_CHANGES).entity_has_changed

    driven(getattr(store, REMOTELY)({}))
    told = has_changed.__wrapped__.mock_calls
    assert (1, [mock.call("there", 1)]) == (edus.stream_id, told)
    # Another task's row, meanwhile or later, is not this batch's.
    has_changed("there", 2)
    assert edus.stream_id == 1


def test_rows_are_observed_afresh_at_each_attempt() -> None:
    """What an attempt that failed wrote does not count."""
    store, _ = intercepted()
    batch = ObservedBatch({"@a:hs": {"A": {}, "B": {}}})
    store._add_messages_to_local_device_inbox_txn(None, 5, batch)
    assert batch.stream_id == 5
    ((_, _, stored),) = calls_of(store)
    assert stored["@a:hs"]["A"] is batch["@a:hs"]["A"]
    assert not batch.passed_over(("@a:hs", "A"))
    assert batch.passed_over(("@a:hs", "B"))

    failing = wrappers.observing(mock.Mock(side_effect=KeyError))
    with pytest.raises(KeyError):
        failing(None, 6, batch)
    assert batch.stream_id is None


def test_a_read_is_noted_when_it_begins_however_it_is_called() -> None:
    """What is stored while it runs may be handed out, too.

    By position and by name; how many it takes is Synapse's business.
    """
    store, traffic = intercepted()
    for note in (traffic.note_read, traffic.note_read_of_user):
        note.side_effect = lambda *read: store.calls(None, *read)
    place: dict[str, Any] = {"user_id": "@a:hs", "device_id": "A", "from_stream_id": 5}
    read, users = store.get_messages_for_device, ["@a:hs", "@b:hs"]
    for limit, reading in (
        ([], read("@a:hs", "A", 5, 9)),
        ([7], read("@a:hs", "A", 5, 9, 7)),
        ([3], read(**place, to_stream_id=9, limit=3)),
    ):
        assert 9 == driven(reading)
        assert [("@a:hs", "A", 9), ("@a:hs", "A", 5, 9, *limit)] == calls_of(store)[-2:]
    assert 9 == driven(store.get_messages_for_user_devices(users, 5, 9))
    assert [("@a:hs", 9), ("@b:hs", 9), (users, 5, 9)] == calls_of(store)[-3:]


def test_a_read_does_not_fail_for_us(caplog: pytest.LogCaptureFixture) -> None:
    store, traffic = intercepted()
    traffic.note_read.side_effect = traffic.note_read_of_user.side_effect = OSError

    assert 9 == driven(store.get_messages_for_device("@a:hs", "A", 5, 9))
    assert 9 == driven(store.get_messages_for_user_devices(["@a:hs"], 5, 9))
    assert 2 == caplog.text.count("cannot note that a mailbox is read")

"""What is used of Synapse's internals, and what becomes of it where they differ."""

from __future__ import annotations

import asyncio
import types
from typing import Any

import pytest
from synapse.module_api.errors import ConfigError

from synapse_withheld import WithheldModule, synapse_internals, wrappers
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import ObservedBatch
from synapse_withheld.operators.series import ACTIVE, SERVER_NAME_LABEL
from synapse_withheld.synapse_internals import SynapseInternals
from tests.unit.stores import (
    Apart,
    OnlyHalf,
    ReadsOtherwise,
    Renamed,
    Traffic,
    WithoutChanges,
    api,
    intercepted,
)


def active() -> float:
    labels = {SERVER_NAME_LABEL: "hs"} if SERVER_NAME_LABEL else {}
    metric = ACTIVE.labels(**labels) if labels else ACTIVE
    return float(next(iter(metric.collect())).samples[0].value)


@pytest.mark.parametrize(
    ("store", "redis"), [(Apart(), True), (ReadsOtherwise(), False)]
)
def test_where_reads_are_not_seen_the_module_acts_all_the_same(
    store: Any, redis: bool
) -> None:
    """With workers, or where reads take another way: nothing is wrapped for them."""
    synapse = SynapseInternals(api(store, redis=redis))

    assert not synapse.sees_reads
    synapse.intercept(Traffic())  # type: ignore[arg-type]
    assert not [name for name in vars(store) if name.startswith("get_messages")]
    assert "add_local_messages_from_client_to_device_inbox" in vars(store)


@pytest.mark.parametrize(
    "found",
    [
        *map(api, (Renamed(), object(), OnlyHalf(), WithoutChanges())),
        # Without a homeserver behind it.
        types.SimpleNamespace(server_name="hs"),
    ],
)
def test_an_unknown_synapse_is_left_alone(
    found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once at ERROR, and the gauge is 0."""
    WithheldModule(Config(), found)

    assert [40] == [record.levelno for record in caplog.records]
    assert "does not act" in caplog.text
    assert active() == 0


def test_an_unknown_synapse_is_refused_where_the_operator_wants_that() -> None:
    """The error says what differs and what to do."""
    with pytest.raises(ConfigError, match=r"takes \('messages',\).*deliver"):
        WithheldModule(Config(on_unknown_synapse="refuse"), api(Renamed()))


def test_only_the_writer_acts(caplog: pytest.LogCaptureFixture) -> None:
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
    store = Apart()
    WithheldModule(Config(), api(store))

    assert active() == 1
    with pytest.raises(ConfigError, match="loaded twice"):
        WithheldModule(Config(), api(store))


class AuthOfOldSynapse:
    """As long before the versions that were tested."""

    async def is_server_admin(self, user: object) -> bool:
        raise AssertionError(user)


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        (None, "attribute 'get_auth'"),
        (types.SimpleNamespace(), "(no method is_server_admin"),
        (AuthOfOldSynapse(), "(is_server_admin takes"),
    ],
)
def test_where_nobody_can_be_asked_no_pages_are_served(
    auth: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, in one line, and the module acts."""
    found = api(Apart())
    served: list[str] = []
    if auth is not None:
        found._hs.get_auth = lambda: auth
    found.register_web_resource = lambda path, _: served.append(path)
    found.should_run_background_tasks = lambda: False
    with caplog.at_level("INFO"):
        WithheldModule(Config(), found)

    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [None] == [each.exc_info for each in errors]
    assert why in caplog.text
    assert "serves no pages, but acts" in caplog.text
    assert "acts on to-device messages" in caplog.text
    assert [] == served


# What the wrapped methods do.

MESSAGES: Any = {"@a:hs": {"A": {}}, "@b:hs": {"B": {}}}
LEFT: Any = {"@a:hs": {"A": {}}}


@pytest.mark.parametrize(
    ("sent", "kept", "answer", "called"),
    [
        (MESSAGES, LEFT, 1, [LEFT]),
        # The answer is the stream's current position.
        (MESSAGES, {}, 42, []),
        # As by stock Synapse: only what collapsed is left out.
        ({}, None, 1, [{}]),
    ],
)
def test_what_is_left_is_stored_and_only_its_users_are_woken(
    sent: Any, kept: Any, answer: int, called: Any
) -> None:
    """Synapse wakes the users that are left in the dict it passed."""
    passed = dict(sent)
    store = intercepted(Apart(), Traffic(kept=kept))
    method = store.add_local_messages_from_client_to_device_inbox

    assert (answer, called) == (asyncio.run(method(passed)), store.called)
    assert passed.keys() == (kept or {}).keys()


def test_the_row_of_an_edu_is_observed() -> None:
    """Synapse tells its readers at which stream ID, once it is written."""
    edus = ObservedBatch({"there": {}})
    store = intercepted(Apart(), Traffic(kept_edus=edus))

    asyncio.run(store.add_remote_messages_from_client_to_device_inbox({}))

    changes = store._device_federation_outbox_stream_cache
    assert (1, [("there", 1)]) == (edus.stream_id, changes.told)
    # Another task's row, meanwhile or later, is not this batch's.
    changes.entity_has_changed("there", 2)
    assert edus.stream_id == 1


def test_rows_are_observed_afresh_at_each_attempt() -> None:
    """What an attempt that failed wrote does not count."""
    store = intercepted(Apart(), Traffic())
    batch = ObservedBatch({"@a:hs": {"A": {}, "B": {}}})
    store._add_messages_to_local_device_inbox_txn(None, 5, batch)
    assert batch.stream_id == 5
    ((_, _, stored),) = store.called
    assert stored["@a:hs"]["A"] is batch["@a:hs"]["A"]
    assert not batch.passed_over(("@a:hs", "A"))
    assert batch.passed_over(("@a:hs", "B"))

    failing = Apart()
    failing._add_messages_to_local_device_inbox_txn = None  # type: ignore[method-assign,assignment]
    synapse_internals._wrap(
        failing, "_add_messages_to_local_device_inbox_txn", wrappers.observing
    )
    with pytest.raises(TypeError):
        failing._add_messages_to_local_device_inbox_txn(None, 6, batch)
    assert batch.stream_id is None


def test_a_read_is_noted_when_it_begins_however_it_is_called() -> None:
    """What is stored while it runs may be handed out, too.

    By position and by name; how many it takes is Synapse's business.
    """
    traffic, store = Traffic(), Apart()
    store.called = traffic.reads
    intercepted(store, traffic)
    named: dict[str, Any] = {"user_id": "@a:hs", "device_id": "A", "from_stream_id": 5}
    for read in (
        store.get_messages_for_device("@a:hs", "A", 5, 9),
        store.get_messages_for_device("@a:hs", "A", 5, 9, 7),
        store.get_messages_for_device(**named, to_stream_id=9, limit=3),
        store.get_messages_for_user_devices(["@a:hs", "@b:hs"], 5, 9),
    ):
        asyncio.run(read)

    of_device = [
        each
        for limit in (100, 7, 3)
        for each in (("@a:hs", "A", 9), ("@a:hs", "A", 5, 9, limit))
    ]
    of_users = [("@a:hs", 9), ("@b:hs", 9), (["@a:hs", "@b:hs"], 5, 9)]
    assert of_device + of_users == traffic.reads


def test_a_read_does_not_fail_for_us(caplog: pytest.LogCaptureFixture) -> None:
    traffic = Traffic()
    traffic.failing = True
    store = intercepted(Apart(), traffic)

    assert ([], 9) == asyncio.run(store.get_messages_for_device("@a:hs", "A", 5, 9))
    assert {} == asyncio.run(store.get_messages_for_user_devices(["@a:hs"], 5, 9))
    assert len(traffic.reads) == 2
    assert "cannot note that a mailbox is read" in caplog.text

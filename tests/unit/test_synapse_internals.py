"""What is used of Synapse's internals, and what becomes of it where they differ."""

from __future__ import annotations

import types
from typing import Any

import pytest
from synapse.module_api.errors import ConfigError

from synapse_withheld import WithheldModule
from synapse_withheld.config import Config
from synapse_withheld.operators.series import ACTIVE, SERVER_NAME_LABEL
from synapse_withheld.synapse_internals import SynapseInternals, UnknownSynapseError
from tests.unit.stores import (
    Apart,
    OnlyHalf,
    ReadsOtherwise,
    Renamed,
    Traffic,
    WithoutChanges,
    api,
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


@pytest.mark.parametrize("store", [Renamed(), object(), OnlyHalf(), WithoutChanges()])
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
    with pytest.raises(UnknownSynapseError):
        SynapseInternals(types.SimpleNamespace())  # type: ignore[arg-type]


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


def api_with(auth: Any) -> Any:
    """Return a module API whose homeserver has an `Auth`, and what was served."""
    found = api(Apart())
    if auth is not None:
        found._hs.get_auth = lambda: auth
    found.served = []
    found.register_web_resource = lambda path, _: found.served.append(path)
    found.should_run_background_tasks = lambda: False
    return found


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        (None, "get_auth"),
        (types.SimpleNamespace(), "no method is_server_admin"),
        (AuthOfOldSynapse(), "is_server_admin takes"),
    ],
)
def test_where_nobody_can_be_asked_no_pages_are_served(
    auth: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, in one line, and the module acts."""
    found = api_with(auth)
    with caplog.at_level("INFO"):
        WithheldModule(Config(), found)

    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [None] == [each.exc_info for each in errors]
    assert f"({why}" in caplog.text or f"attribute '{why}'" in caplog.text
    assert "serves no pages, but acts" in caplog.text
    assert "acts on to-device messages" in caplog.text
    assert [] == found.served

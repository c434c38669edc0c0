"""What the wrapped methods of the store do, in each of their shapes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synapse_withheld import synapse_internals, wrappers
from synapse_withheld.delivery.batch import ObservedBatch
from tests.unit.stores import Apart, Traffic, intercepted

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
def test_finding_9_what_is_left_is_stored_and_only_its_users_are_woken(
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

    assert edus.stream_id == 1
    changes = store._device_federation_outbox_stream_cache
    assert [("there", 1)] == changes.told
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


def test_a_read_is_noted_when_it_begins() -> None:
    """What is stored while it runs may be handed out, too."""
    traffic, store = Traffic(), Apart()
    begun: list[Any] = []

    async def read(*_: Any) -> Any:
        begun.extend(traffic.reads)

    # On the object: the class's own is what is checked.
    store.get_messages_for_device = read  # type: ignore[method-assign,assignment]
    intercepted(store, traffic)
    asyncio.run(store.get_messages_for_device("@a:hs", "A", 5, 9))
    assert [("@a:hs", "A", 9)] == begun


def test_every_way_to_call_a_read_works() -> None:
    """By position and by name; how many it takes is Synapse's business."""
    traffic = Traffic()
    store = intercepted(Apart(), traffic)
    named = {"user_id": "@a:hs", "device_id": "A", "from_stream_id": 5}

    async def read() -> None:
        await store.get_messages_for_device("@a:hs", "A", 5, 9)
        await store.get_messages_for_device("@a:hs", "A", 5, 9, 7)
        await store.get_messages_for_device(**named, to_stream_id=9, limit=3)
        await store.get_messages_for_user_devices(["@a:hs", "@b:hs"], 5, 9)

    asyncio.run(read())

    device = ("@a:hs", "A", 5, 9)
    users = (["@a:hs", "@b:hs"], 5, 9)
    assert [(*device, 100), (*device, 7), (*device, 3), users] == store.called
    of_users = [("@a:hs", 9), ("@b:hs", 9)]
    assert [("@a:hs", "A", 9)] * 3 + of_users == traffic.reads


def test_a_read_does_not_fail_for_us(caplog: pytest.LogCaptureFixture) -> None:
    traffic = Traffic()
    traffic.failing = True
    store = intercepted(Apart(), traffic)

    assert ([], 9) == asyncio.run(store.get_messages_for_device("@a:hs", "A", 5, 9))
    assert {} == asyncio.run(store.get_messages_for_user_devices(["@a:hs"], 5, 9))
    assert len(traffic.reads) == 2
    assert "cannot note that a mailbox is read" in caplog.text

"""Sorting: which messages of a batch are looked at, and what the memory hears."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config
from synapse_withheld.delivery import sorting
from synapse_withheld.delivery.batch import WILDCARD, Batch, LocalMessages
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.ruleset import Ruleset

SENDER, USER, OTHER = "@s:here", "@r:here", "@q:here"
STREAM, DEVICE_LIST = 7, 5
MOST = 3
CONTENT = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "code": "m.no_olm",
    "sender_key": "key",
    "from_device": "S1",
}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at few messages of a batch, so that few are too many."""
    monkeypatch.setattr(sorting, "MOST_SORTED", MOST)


def sorter(*, has_all_devices: bool = True) -> Sorter:
    """Return one that remembers nothing yet."""
    return Sorter(
        "inbox",
        has_all_devices,
        Memory(Limits(1000), sees_reads=True, hold_s=None),
        Ruleset.of(Config()),
        Metrics("sorting"),
        stream_token=lambda: STREAM,
        device_list_id=lambda: DEVICE_LIST,
        reader_never_acknowledges=lambda _: False,
    )


def messages(sender: str = SENDER, **devices: list[str]) -> LocalMessages:
    """Return a notice for some devices of users, named by the first of their ID."""
    return {
        f"@{user}:here": {device: message(sender) for device in some}
        for user, some in devices.items()
    }


def message(sender: str = SENDER) -> dict[str, Any]:
    """Return a message with a notice."""
    return {"content": CONTENT, "type": "m.room_key.withheld", "sender": sender}


def sort(
    some: Sorter,
    batch_of: LocalMessages,
    origin: str | None = None,
    *,
    sender: str = SENDER,
) -> Batch:
    """Sort messages; return their batch."""
    batch = Batch(batch_of, {}, sender, f"room of {sender}", 3.0)
    some.sort(batch, batch_of, origin)
    return batch


def store(some: Sorter, *devices: str, user_id: str = USER) -> None:
    """Let a notice be remembered of devices, all of whose rows are known."""
    for stream_id, device in enumerate(devices, STREAM + 1):
        batch = sort(some, {user_id: {device: message()}})
        (candidate,) = batch.candidates
        assert candidate.storing is not None
        some.memory.settle(candidate.storing, stream_id)
        mailbox = some.memory.open((user_id, device), 0)
        mailbox.learned = True


def believed(some: Sorter, device: str, user_id: str = USER) -> bool:
    """Say whether a device's notice is still believed to say it all."""
    batch = sort(some, {user_id: {device: message()}})
    (candidate,) = batch.candidates
    assert candidate.storing is not None
    some.memory.abandon(candidate.storing)
    return candidate.collapses


def learned(some: Sorter, *devices: str, user_id: str = USER) -> list[bool]:
    """Say of each device whether all that is queued for it is known."""
    mailboxes = [some.memory.peek((user_id, device)) for device in devices]
    return [mailbox is not None and mailbox.learned for mailbox in mailboxes]


def test_a_notice_is_in_flight_once_it_is_sorted() -> None:
    """In the room of who sent it, from where the device list was."""
    some = sorter()
    some.memory.open((USER, "A"), 0)
    before = message()
    batch = sort(some, {USER: {"A": before}})

    (candidate,) = batch.candidates
    assert candidate.message is before
    assert candidate.decision is decisions.FIRST
    assert candidate.wildcard is False
    storing = candidate.storing
    assert storing is not None
    assert batch.who == storing.who
    assert (DEVICE_LIST, 3.0) == (storing.device_list_id, storing.began_s)
    assert [storing] == list(some.memory._in_flight)
    assert 1 == some.begun


def test_a_mailbox_is_opened_from_where_the_stream_is() -> None:
    """What its device was handed before is not known."""
    some = sorter()
    sort(some, messages(r=["A"]))

    mailbox = some.memory.peek((USER, "A"))
    assert mailbox is not None
    assert STREAM == mailbox.handed_out


def test_a_notice_for_all_is_in_flight_for_each_device_that_is_remembered() -> None:
    """It is stored, whatever they hold."""
    some = sorter()
    store(some, "A", "B")
    before = message()
    batch = sort(some, {USER: {WILDCARD: before}})

    assert [(USER, "A"), (USER, "B")] == [each.mailbox for each in batch.candidates]
    for each in batch.candidates:
        assert each.message is before
        assert each.wildcard is True
        assert each.decision is decisions.WILDCARD
        assert each.storing is not None
    assert [USER] == [user_id for user_id, _ in batch.to_all]
    assert {} == batch.unsorted


def test_a_notice_for_all_of_whom_nothing_is_remembered_is_counted() -> None:
    """Once, as the first; nothing is in flight."""
    some = sorter()
    before = message()
    batch = sort(some, {USER: {WILDCARD: before}})

    (candidate,) = batch.candidates
    assert ((USER, WILDCARD), before) == (candidate.mailbox, candidate.message)
    assert candidate.decision is decisions.FIRST
    assert candidate.storing is None
    assert 0 == len(some.memory)


def test_what_is_no_notice_hides_none_behind_it() -> None:
    """Nor what cannot be stored, nor what others know more of."""
    some = sorter(has_all_devices=False)
    nothing = {**message(), "content": {}}
    of_user = {"A": nothing, "B\0": message(), WILDCARD: message(), "C": message()}
    batch = sort(some, {USER + "\0": {"A": message()}})
    assert [] == batch.candidates
    del of_user["A"]
    assert ["C"] == [each.mailbox[1] for each in sort(some, {USER: of_user}).candidates]

    batch = sort(some, {USER: {"A": nothing, "B": message()}})
    assert ["B"] == [each.mailbox[1] for each in batch.candidates]


def test_a_notice_for_all_is_left_to_a_server_that_knows_them() -> None:
    """Which devices they are is told only there."""
    some = sorter(has_all_devices=False)
    batch = sort(some, messages(r=[WILDCARD], q=["A"]))

    assert [(OTHER, "A")] == [each.mailbox for each in batch.candidates]
    assert [] == batch.to_all


def test_a_notice_for_all_is_looked_at_for_as_many_as_are_looked_at() -> None:
    """No mailbox is doubted where there is room for all."""
    some = sorter()
    devices = [f"D{number}" for number in range(MOST)]
    store(some, *devices)
    batch = sort(some, messages(r=[WILDCARD]))

    assert MOST == len(batch.candidates)
    assert {} == batch.unsorted
    assert [True] * MOST == learned(some, *devices)


def test_a_notice_for_very_many_devices_leaves_the_others_in_doubt() -> None:
    """They are doubted once more when it is stored; no message is counted twice."""
    some = sorter()
    devices = [f"D{number}" for number in range(MOST + 2)]
    store(some, *devices)
    store(some, "A", user_id=OTHER)
    batch = sort(some, messages(r=[WILDCARD]))

    looked_at = [key[1] for key in (each.mailbox for each in batch.candidates)]
    assert devices[:MOST] == looked_at
    assert [True] * MOST == learned(some, *devices[:MOST])
    assert [False, False] == learned(some, *devices[MOST:])
    unsorted = batch.unsorted["inbox"]
    assert (0, [USER]) == (unsorted.messages, unsorted.users)
    doubted = [mailbox.key[1] for mailbox in unsorted.mailboxes]
    assert devices[MOST:] == doubted
    assert not believed(some, devices[-1])
    assert believed(some, "A", OTHER)


def test_what_nobody_looks_at_is_counted() -> None:
    """Of all users together."""
    some = sorter()
    batch = sort(some, messages(r=["A", "B"], q=["A", "B", "C"]))

    unsorted = batch.unsorted["inbox"]
    assert [] == batch.candidates
    assert (5, [USER, OTHER]) == (unsorted.messages, unsorted.users)
    assert [] == unsorted.mailboxes


def test_as_many_as_are_looked_at_are() -> None:
    """One more are too many."""
    assert MOST == len(sort(sorter(), messages(r=["A", "B"], q=["A"])).candidates)
    assert [] == sort(sorter(), messages(r=["A", "B"], q=["A", "B"])).candidates


def test_what_nobody_looked_at_ends_the_belief_in_what_was_told_before() -> None:
    """Of its sender to its users; what is known of others stays."""
    some = sorter()
    store(some, "A")
    store(some, "A", user_id=OTHER)
    batch = sort(some, messages(r=["A", "B", "C", "D"]))

    assert not believed(some, "A")
    assert [False] == learned(some, "A")
    assert believed(some, "A", OTHER)
    assert [True] == learned(some, "A", user_id=OTHER)
    (mailbox,) = batch.unsorted["inbox"].mailboxes
    assert (USER, "A") == mailbox.key


def test_only_mailboxes_that_it_names_are_doubted() -> None:
    """What it names `*` for is for all of the user's, and of nobody else's."""
    for named, expected in [("C", [True, True]), (WILDCARD, [False, False])]:
        some = sorter()
        store(some, "A", "B")
        store(some, "A", user_id=OTHER)
        sort(some, messages(r=[named, "x", "y", "z"]))

        assert expected == learned(some, "A", "B")
        assert [True] == learned(some, "A", user_id=OTHER)


@pytest.mark.parametrize(
    ("origin", "expected"), [(None, False), ("here", False), ("there", True)]
)
def test_what_nobody_looked_at_counts_where_its_sender_may_send_it(
    origin: str | None, expected: bool
) -> None:
    """Or any server could end the belief in what others said."""
    some = sorter()
    store(some, "A")
    batch = sort(some, messages(r=["A", "B", "C", "D"]), origin)

    assert expected is believed(some, "A")
    assert expected is ("inbox" not in batch.unsorted)

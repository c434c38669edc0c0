"""Sorting: which messages of a batch are looked at, and what the memory hears."""

from __future__ import annotations

import pytest

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.delivery import sorting
from synapse_withheld.delivery.batch import WILDCARD, Batch, LocalMessages
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators import series
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
MESSAGE = {"content": CONTENT, "type": "m.room_key.withheld", "sender": SENDER}
NO_NOTICE = {**MESSAGE, "content": {}}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MOST_SORTED", MOST)


def sorter(*, has_all_devices: bool = True) -> Sorter:
    return Sorter(
        "inbox",
        has_all_devices,
        Memory(Limits(1000), sees_reads=True, hold_s=None),
        Ruleset.of(Config(rules=RulesConfig(withheld=True))),
        Metrics("sorting"),
        stream_token=lambda: STREAM,
        device_list_id=lambda: DEVICE_LIST,
        reader_never_acknowledges=lambda _: False,
    )


def notices(**devices: list[str]) -> LocalMessages:
    """Return a notice for some devices of users, whom their first letter names."""
    return {
        f"@{user}:here": dict.fromkeys(some, MESSAGE) for user, some in devices.items()
    }


def sort(some: Sorter, messages: LocalMessages, origin: str | None = None) -> Batch:
    batch = Batch(messages, {}, SENDER, "room of the sender", 3.0)
    some.sort(batch, messages, origin)
    return batch


def store(some: Sorter, *devices: str, user_id: str = USER) -> None:
    """Let a notice be remembered of devices, all of whose rows are known."""
    for stream_id, device in enumerate(devices, STREAM + 1):
        (candidate,) = sort(some, {user_id: {device: MESSAGE}}).candidates
        assert candidate.storing is not None
        some.memory.settle(candidate.storing, stream_id)
        some.memory.open((user_id, device), 0).learned = True


def believed(some: Sorter, device: str, user_id: str = USER) -> bool:
    """Say whether a device's notice is still believed to say it all."""
    (candidate,) = sort(some, {user_id: {device: MESSAGE}}).candidates
    assert candidate.storing is not None
    some.memory.abandon(candidate.storing)
    return candidate.collapses


def learned(some: Sorter, *devices: str, user_id: str = USER) -> list[bool]:
    """Say of each device whether all that is queued for it is known."""
    mailboxes = [some.memory.peek((user_id, device)) for device in devices]
    return [mailbox is not None and mailbox.learned for mailbox in mailboxes]


def sorted_devices(batch: Batch) -> list[str]:
    return [each.mailbox[1] for each in batch.candidates]


def test_a_notice_is_in_flight_once_it_is_sorted() -> None:
    """In the room of who sent it, from where the streams are."""
    some = sorter()
    batch = sort(some, notices(r=["A"]))

    (candidate,) = batch.candidates
    assert candidate.message is MESSAGE
    assert candidate.decision is decisions.FIRST
    assert candidate.wildcard is False
    storing = candidate.storing
    assert storing is not None
    assert batch.who == storing.who
    assert (DEVICE_LIST, 3.0) == (storing.device_list_id, storing.queued_s)
    assert [storing] == list(some.memory._in_flight)
    assert 1 == some.begun
    mailbox = some.memory.peek((USER, "A"))
    assert mailbox is not None
    # What its device was handed before is not known.
    assert STREAM == mailbox.handed_out


def test_each_withheld_message_counts_by_its_own_code(metrics: Metrics) -> None:
    some = sorter()
    some.metrics = metrics
    session = {"code": "m.unverified", "room_id": "!r", "session_id": "1"}
    other = {**MESSAGE, "content": {**CONTENT, **session}}
    batch = sort(some, {USER: {"A": MESSAGE, "B": other, "C": NO_NOTICE}})

    assert ["A", "B"] == sorted_devices(batch)
    sort(some, notices(r=["A", "B"]), "there")
    assert {
        ("m.no_olm", "local"): 1,
        ("m.unverified", "local"): 1,
        ("malformed", "local"): 1,
        ("m.no_olm", "federation"): 2,
    } == {
        (labels["code"], labels["source"]): times
        for labels, times in some.metrics.read(series.MESSAGES)
    }
    assert [("no_olm", "inbox", "spoofed_sender")] == [
        (labels["rule"], labels["queue"], labels["reason"])
        for labels, _ in some.metrics.read(series.DECISIONS)
    ]


def test_a_notice_for_all_is_in_flight_for_each_device_that_is_remembered() -> None:
    some = sorter()
    store(some, "A", "B")
    batch = sort(some, notices(r=[WILDCARD]))

    assert ["A", "B"] == sorted_devices(batch)
    for each in batch.candidates:
        assert each.message is MESSAGE
        assert each.wildcard is True
        assert each.decision is decisions.WILDCARD
        assert each.storing is not None
    assert [USER] == [user_id for user_id, _ in batch.to_all]
    assert {} == batch.unsorted
    assert 4 == some.begun
    # Of whom nothing is remembered, it is the first.
    (first,) = sort(sorter(), notices(r=[WILDCARD])).candidates
    assert ("inbox", (USER, WILDCARD)) == (first.queue, first.mailbox)
    assert first.message is MESSAGE


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ({USER + "\0": {"A": MESSAGE}, OTHER: {"B": MESSAGE}}, ["B"]),
        ({USER: {"A": NO_NOTICE, "B": MESSAGE}}, ["B"]),
        ({USER: {"B\0": MESSAGE, WILDCARD: MESSAGE, "C": MESSAGE}}, ["C"]),
        # Which devices all are is told only where they are.
        ({USER: {WILDCARD: MESSAGE}, OTHER: {"A": MESSAGE}}, ["A"]),
    ],
)
def test_what_cannot_be_sorted_hides_nothing_behind_it(
    messages: LocalMessages, expected: list[str]
) -> None:
    """What is no notice, cannot be stored, or is for devices that others know."""
    batch = sort(sorter(has_all_devices=False), messages)

    assert expected == sorted_devices(batch)
    assert [] == batch.to_all


def test_a_notice_for_very_many_devices_leaves_the_others_in_doubt() -> None:
    """They are doubted once more when it is stored; no message is counted twice."""
    for beyond in (0, 2):
        some = sorter()
        devices = [f"D{number}" for number in range(MOST + beyond)]
        store(some, *devices)
        store(some, "A", user_id=OTHER)
        batch = sort(some, notices(r=[WILDCARD]))

        assert devices[:MOST] == sorted_devices(batch)
        assert [True] * MOST == learned(some, *devices[:MOST])
        assert bool(beyond) is bool(batch.unsorted)
    assert [False, False] == learned(some, *devices[MOST:])
    unsorted = batch.unsorted["inbox"]
    assert (0, [USER]) == (unsorted.messages, unsorted.users)
    assert devices[MOST:] == [mailbox.key[1] for mailbox in unsorted.mailboxes]
    assert not believed(some, devices[-1])
    assert believed(some, "A", OTHER)


def test_of_all_users_together_so_many_messages_are_looked_at() -> None:
    batch = sort(sorter(), notices(r=["A", "B"], q=["A"]))
    assert (MOST, {}) == (len(batch.candidates), batch.unsorted)
    batch = sort(sorter(), notices(r=["A", "B"], q=["A", "B"]))

    unsorted = batch.unsorted["inbox"]
    assert [] == batch.candidates
    assert (4, [USER, OTHER], []) == (
        unsorted.messages,
        unsorted.users,
        unsorted.mailboxes,
    )


def test_what_nobody_looked_at_ends_the_belief_in_what_was_told_before() -> None:
    """Of its sender to its users; what is known of others stays."""
    some = sorter()
    store(some, "A")
    store(some, "A", user_id=OTHER)
    batch = sort(some, notices(r=["A", "B", "C", "D"]))

    assert not believed(some, "A")
    assert believed(some, "A", OTHER)
    (mailbox,) = batch.unsorted["inbox"].mailboxes
    assert (USER, "A") == mailbox.key


def test_only_mailboxes_that_it_names_are_doubted() -> None:
    """What it names `*` for is for all of the user's, and of nobody else's."""
    for named, expected in [
        ("A", [False, True]),
        ("C", [True, True]),
        (WILDCARD, [False, False]),
    ]:
        some = sorter()
        store(some, "A", "B")
        store(some, "A", user_id=OTHER)
        sort(some, notices(r=[named, "x", "y", "z"]))

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
    batch = sort(some, notices(r=["A", "B", "C", "D"]), origin)

    assert expected is believed(some, "A")
    assert expected is ("inbox" not in batch.unsorted)

"""Settling: what the memory hears of a batch that was stored, left out or lost."""

from __future__ import annotations

from typing import Any, Sequence, cast

import attrs
import pytest

from synapse_withheld.delivery import settling
from synapse_withheld.delivery.batch import (
    WILDCARD,
    Batch,
    Candidate,
    LocalMessages,
    ObservedBatch,
    Unsorted,
    Watched,
)
from synapse_withheld.delivery.housekeeping.housekeeper import Housekeeper
from synapse_withheld.delivery.settling import NO_RULE, Settler, stored_size
from synapse_withheld.memory.memory import Limits, Mailbox, Memory
from synapse_withheld.operators import series
from synapse_withheld.operators.heavy_hitters import Count
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.no_olm import WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.redundant import Row

SENDER, WHO = "@s:here", "room of @s:here"
USER, OTHER, ABROAD = "@r:here", "@q:here", "@a:there"
A: MailboxKey = (USER, "A")
B: MailboxKey = (USER, "B")
OTHER_ABROAD: MailboxKey = ("@b:there", "Y")
STREAM = 50
HOLD_S = 10.0


@attrs.define
class Heard:
    """What a housekeeper was told, in the order of its calls."""

    learned: list[tuple[str, MailboxKey, Mailbox, str]] = attrs.Factory(list)
    users: list[tuple[str, str, Row | None]] = attrs.Factory(list)
    tidied: list[tuple[str, list[Superseded], str]] = attrs.Factory(list)

    def learn(self, queue: str, mailbox: Mailbox, who: str) -> None:
        self.learned.append((queue, mailbox.key, mailbox, who))

    def learn_user(self, user_id: str, who: str, row: Row | None) -> None:
        self.users.append((user_id, who, row))

    def tidy(self, queue: str, rows: Sequence[Superseded], who: str) -> None:
        if rows:
            self.tidied.append((queue, list(rows), who))


@attrs.define
class Place:
    """A settler, and what is around it."""

    settler: Settler
    heard: Heard

    @property
    def inbox(self) -> Memory:
        return self.settler.memories["inbox"]

    @property
    def outbox(self) -> Memory:
        return self.settler.memories["outbox"]

    def counted(self) -> dict[tuple[str, str, str], float]:
        return {
            (labels["rule"], labels["queue"], labels["reason"]): value
            for labels, value in self.settler.metrics.read(series.DECISIONS)
        }


@pytest.fixture
def place(metrics: Metrics) -> Place:
    """Return a settler, whose metrics are those of this test alone."""
    memories = {
        queue: Memory(Limits(1000), sees_reads=True, hold_s=HOLD_S)
        for queue in ("inbox", "outbox")
    }
    heard = Heard()
    housekeeper = cast(Housekeeper, heard)
    tally = Tally(lambda: 0.0)
    settler = Settler(memories, "inbox", housekeeper, metrics, tally, lambda: STREAM)
    return Place(settler, heard)


def notice(key: str = "k1") -> Notice:
    return Notice(NoOlm(), Pair(SENDER, "device:S", "m.room_key.withheld"), key, WHOLE)


def messages(*keys: MailboxKey) -> LocalMessages:
    found: LocalMessages = {}
    for user_id, device_id in keys:
        found.setdefault(user_id, {})[device_id] = {"content": {}, "n": device_id}
    return found


def edus(*keys: MailboxKey) -> dict[str, Any]:
    """Return an EDU with a message for each mailbox on the other server."""
    return {"there": {"messages": messages(*keys)}} if keys else {}


def a_batch(*local: MailboxKey, abroad: Sequence[MailboxKey] = ()) -> Batch:
    return Batch(messages(*local), edus(*abroad), SENDER, WHO, 0.0)


def add(
    place: Place,
    batch: Batch,
    key: MailboxKey,
    decision: Decision = decisions.FIRST,
    *,
    queue: str = "inbox",
    said: Notice | None = None,
    content: Any = None,
    wildcard: bool = False,
) -> Candidate:
    memory = place.settler.memories[queue]
    said = said or notice()
    memory.open(key, 0)
    message = {"content": {} if content is None else content}
    storing = memory.begin(key, said, WHO, 0, 0.0)
    candidate = Candidate(
        queue, key, said, message, decision, storing=storing, wildcard=wildcard
    )
    batch.candidates.append(candidate)
    return candidate


def stored_at(batch: Batch, stream_id: int | None) -> None:
    batch.local = ObservedBatch(batch.local)
    batch.local.stream_id = stream_id
    batch.edus = ObservedBatch(batch.edus)
    batch.edus.stream_id = None if stream_id is None else stream_id + 1


def store(place: Place, key: MailboxKey, stream_id: int, queue: str = "inbox") -> None:
    """Let a row be remembered in a mailbox of which all is known."""
    memory = place.settler.memories[queue]
    memory.open(key, 0).learned = True
    memory.settle(memory.begin(key, notice(), WHO, 0, 0.0), stream_id)


def stream_ids(memory: Memory, key: MailboxKey) -> list[int]:
    return sorted(record.stream_id for record in memory.peek(key) or ())


def in_flight(memory: Memory) -> int:
    return len(list(memory._in_flight))


def test_what_was_stored_is_remembered_where_it_was_stored(place: Place) -> None:
    """Each queue has rows of its own; nothing is in flight any more."""
    store(place, A, 5)
    place.inbox.open(A, 0).doubt()
    batch = a_batch(A, abroad=[(ABROAD, "X")])
    add(place, batch, A)
    add(place, batch, (ABROAD, "X"), queue="outbox")
    stored_at(batch, 7)
    place.settler.settle(batch)

    assert [7] == stream_ids(place.inbox, A)
    assert [8] == stream_ids(place.outbox, (ABROAD, "X"))
    assert 0 == in_flight(place.inbox) == in_flight(place.outbox)
    assert [None, None] == [each.storing for each in batch.candidates]
    learned = [(queue, key, who) for queue, key, _, who in place.heard.learned]
    assert [("inbox", A, WHO), ("outbox", (ABROAD, "X"), WHO)] == learned
    assert [("inbox", [Superseded(A, 5, 7)], WHO)] == place.heard.tidied


def test_what_was_passed_over_is_forgotten(place: Place) -> None:
    """There is no such device: it has no mailbox, and nothing came for it."""
    batch = a_batch(A, B, (OTHER, WILDCARD))
    add(place, batch, A)
    add(place, batch, B)
    batch.to_all.append((OTHER, notice()))
    stored_at(batch, 7)
    batch.local.watched = {user: Watched(each) for user, each in batch.local.items()}
    batch.local.watched[USER]["B"]
    place.settler.settle(batch)
    place.settler.count(batch, batch.candidates)

    assert place.inbox.peek(A) is None
    assert 0 == in_flight(place.inbox)
    assert [B] == [key for _, key, *_ in place.heard.learned]
    assert [] == place.heard.users
    assert {
        ("no_olm", "inbox", "unknown_device"): 1,
        ("no_olm", "inbox", "first"): 1,
    } == place.counted()
    assert [("no_olm", B)] == [
        each.key for each in place.settler.tally.recipients.most(9)
    ]


def test_of_what_is_for_all_of_a_user_the_mailboxes_are_learned(place: Place) -> None:
    """With the row, if one was stored."""
    batch = a_batch((USER, WILDCARD))
    batch.to_all.append((USER, notice()))
    for stream_id in (7, None):
        stored_at(batch, stream_id)
        place.settler.settle(batch)

    assert [(USER, WHO, Row(7, notice())), (USER, WHO, None)] == place.heard.users


def test_mailboxes_that_were_opened_while_something_for_all_was_stored_are_doubted(
    place: Place,
) -> None:
    """Not those in which it was in flight, and nobody else's."""
    batch = a_batch((USER, WILDCARD))
    batch.to_all.append((USER, notice()))
    add(place, batch, A, wildcard=True)
    add(place, batch, B)
    for key in (A, B, (USER, "C"), (OTHER, "A")):
        place.inbox.open(key, 0).learned = True
    stored_at(batch, 7)
    place.settler.settle(batch)

    learned = {
        key: mailbox.learned
        for key in (A, B, (USER, "C"), (OTHER, "A"))
        if (mailbox := place.inbox.peek(key)) is not None
    }
    assert {A: True, B: False, (USER, "C"): False, (OTHER, "A"): True} == learned


def test_of_a_batch_that_was_not_sorted_all_it_names_is_forgotten(
    place: Place,
) -> None:
    """In each queue what is for it; `*` names all of the user's."""
    named, abroad = (OTHER, "A"), (ABROAD, "X")
    others = [(OTHER, "B"), ("@n:here", "A")]
    for key in (A, B, named, *others, abroad, (ABROAD, "Y")):
        store(place, key, 5)
        store(place, key, 5, "outbox")
    batch = a_batch((USER, WILDCARD), named, abroad=[abroad])
    add(place, batch, ("@c:here", "C"))
    place.settler.forget_named(batch)

    for memory, gone, stays in [
        (place.inbox, [A, B, named, ("@c:here", "C")], [*others, abroad]),
        (place.outbox, [abroad], [A, B, named, (ABROAD, "Y")]),
    ]:
        assert not any(map(memory.peek, gone))
        assert all(memory.peek(key) is not None for key in stays)
    assert 0 == in_flight(place.inbox)


def test_what_collapses_is_taken_out(place: Place) -> None:
    """Of both queues; it is in flight no more."""
    batch = a_batch(A, B, abroad=[(ABROAD, "X"), (ABROAD, "Y")])
    goes = add(place, batch, A, decisions.DUPLICATE)
    stays = add(place, batch, B)
    goes_too = add(place, batch, (ABROAD, "X"), decisions.DUPLICATE, queue="outbox")
    place.settler.take_out(batch)

    assert messages(B) == batch.local
    assert edus((ABROAD, "Y")) == batch.edus
    assert goes.storing is goes_too.storing is None
    assert stays.storing is not None
    assert (1, 0) == (in_flight(place.inbox), in_flight(place.outbox))
    assert goes.decision is goes_too.decision is decisions.DUPLICATE
    left = batch.local
    goes.decision = goes_too.decision = decisions.FIRST
    place.settler.take_out(batch)
    # No copy is made where nothing goes.
    assert batch.local is left


def test_what_was_confirmed_is_asked_about_once_more(place: Place) -> None:
    """It may have been read, and its hold be over; what is stored is left out."""
    store(place, A, 5)
    store(place, B, 6)
    batch = a_batch(A, B)
    still = add(place, batch, A, decisions.DUPLICATE)
    late = add(place, batch, B, decisions.DUPLICATE)
    other = add(place, batch, B, decisions.OVERDUE)
    place.inbox.note_read(*B, 6)
    place.settler.believe_again(batch, HOLD_S)
    assert late.decision is decisions.DUPLICATE
    place.settler.believe_again(batch, HOLD_S + 1)

    assert still.decision is decisions.DUPLICATE
    assert late.decision is decisions.READ
    assert other.decision is decisions.OVERDUE


def test_each_notice_counts_as_what_was_done_with_it(place: Place) -> None:
    """For its sender and its mailbox; what was not stored was received before."""
    batch = a_batch(A, B, abroad=[(ABROAD, "X")])
    stored_at(batch, 7)
    add(place, batch, A)
    add(place, batch, B)
    collapsed = add(place, batch, (ABROAD, "X"), decisions.DUPLICATE, queue="outbox")
    collapsed.message["content"] = {"some": "content"}
    batch.edus = ObservedBatch()
    received = add(place, batch, (ABROAD, "Y"), queue="outbox")
    place.settler.count(batch, batch.candidates)

    assert received.decision is decisions.FIRST
    assert {
        ("no_olm", "inbox", "first"): 2,
        ("no_olm", "outbox", "duplicate"): 1,
        ("no_olm", "outbox", "already_received"): 1,
    } == place.counted()
    tally = place.settler.tally
    assert [Count(("no_olm", SENDER), 4, 0)] == tally.senders.most(5)
    recipients = {each.key: each.occurred for each in tally.recipients.most(5)}
    mailboxes = [A, B, (ABROAD, "X"), (ABROAD, "Y")]
    assert {("no_olm", key): 1 for key in mailboxes} == recipients
    assert 3 == tally.history.of("deliver")[-1]
    assert 1 == tally.history.of("collapse")[-1]


def test_the_bytes_of_all_that_collapsed_are_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By queue, each content as often as it would have been stored; it may be large."""
    encoded: list[Any] = []

    def size_of(message: dict[str, Any]) -> int:
        encoded.append(message["content"])
        return stored_size(message)

    monkeypatch.setattr(settling, "stored_size", size_of)
    batch = a_batch()
    content, other = {"a": 1}, {"b": "longer"}
    for device in ("A", "B"):
        add(place, batch, (USER, device), decisions.DUPLICATE, content=content)
    add(place, batch, (OTHER, "A"), decisions.DUPLICATE, content=other)
    key: MailboxKey = (ABROAD, "X")
    add(place, batch, key, decisions.DUPLICATE, queue="outbox", content=other)
    place.settler.count(batch, batch.candidates)

    bytes_ = {
        labels["queue"]: value
        for labels, value in place.settler.metrics.read(series.COLLAPSED_BYTES)
    }
    one, two = len('{"content":{"a":1}}'), len('{"content":{"b":"longer"}}')
    assert {"inbox": 2 * one + two, "outbox": two} == bytes_
    assert [content, other] == encoded


def test_what_cannot_be_encoded_takes_no_bytes() -> None:
    deep: list[Any] = []
    deep.append(deep)

    assert 0 == stored_size({"content": deep})
    assert 0 == stored_size({"content": object()})
    assert len('{"a":[1,"\\u00e4"]}') == stored_size({"a": [1, "ä"]})


def test_what_nobody_looked_at_is_doubted_once_more(place: Place) -> None:
    """And counted as of no rule, where it was not looked at at all."""
    store(place, A, 5)
    store(place, (OTHER, "A"), 5)
    store(place, A, 5, "outbox")
    batch = a_batch()
    mailbox = place.inbox.open(A, 0)
    batch.unsorted["inbox"] = Unsorted(5, [USER], [mailbox])
    batch.unsorted["outbox"] = Unsorted(0, [], [])
    place.settler.settle(batch)

    assert not mailbox.learned
    assert place.inbox.believe(A, notice(), 0.0).decision is decisions.REARMED
    assert place.inbox.believe((OTHER, "A"), notice(), 0.0).record is not None
    assert place.outbox.believe(A, notice(), 0.0).record is not None
    assert {(NO_RULE, "inbox", "limit"): 5} == place.counted()
    assert 5 == place.settler.tally.history.of("deliver")[-1]


def test_a_mailbox_that_was_forgotten_meanwhile_is_opened_and_learned(
    place: Place,
) -> None:
    """From where the stream is by then."""
    batch = a_batch(A)
    add(place, batch, A)
    place.inbox.forget(A)
    stored_at(batch, 7)
    place.settler.settle(batch)

    mailbox = place.inbox.peek(A)
    assert mailbox is not None
    assert STREAM == mailbox.handed_out
    assert [("inbox", A, mailbox, WHO)] == place.heard.learned

"""Deleting redundant rows: which, when, and what becomes of their mailboxes."""

from __future__ import annotations

from typing import Any, Collection, Sequence, cast

import attrs
import pytest

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.delivery.housekeeping.tidying import Tidying
from synapse_withheld.delivery.shares import MOST_OF_ONE, MOST_TRIES
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.memory.vanishing import Place
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.requests import CANCELLATION, REQUEST, KeyRequests

A: MailboxKey = ("@r:here", "A")
B: MailboxKey = ("@r:here", "B")
WHO = "@s:here"


@attrs.define
class Rows:
    """A database that says what it is told to say, and what it was asked."""

    deleted: list[list[tuple[MailboxKey, int, int]]] = attrs.Factory(list)
    vanished: list[list[Place]] = attrs.Factory(list)
    asked: list[list[Place]] = attrs.Factory(list)
    missing: int = 0
    states: dict[Place, RowState] = attrs.Factory(dict)
    fails: bool = False
    is_silent: bool = False

    async def delete(self, rows: Sequence[Superseded], queue: Any) -> int:
        assert queue.name == "inbox"
        if self.fails:
            raise RuntimeError
        self.deleted.append(
            [(row.mailbox, row.stream_id, row.newer_stream_id) for row in rows]
        )
        return len(rows) - self.missing

    async def delete_vanished(self, places: Sequence[Place]) -> int:
        self.vanished.append(list(places))
        return len(places)

    async def read_queued(
        self, queue: Any, places: Collection[Place]
    ) -> dict[Place, RowState]:
        assert queue.name == "inbox"
        self.asked.append(sorted(places))
        if self.is_silent:
            raise RuntimeError
        return self.states


@attrs.define
class Around:
    """What is tidied, and what is around it."""

    tidying: Tidying
    memory: Memory
    database: Rows
    stream: list[int]

    def do_some(self) -> None:
        driven(self.tidying.do_some())

    def tidied(self) -> float:
        """Return how many rows were counted as deleted from the queue."""
        counted = self.tidying.metrics.read(series.TIDIED)
        return sum(value for labels, value in counted if labels["queue"] == "inbox")


@pytest.fixture
def around(metrics: Metrics) -> Around:
    """Return one that has two mailboxes open, with metrics of this test alone."""
    memory = Memory(Limits(200_000), sees_reads=True, hold_s=None, position=lambda: 0)
    for key in (A, B):
        memory.vanishing.note_whole(memory.open(key, 0))
    database, stream = Rows(), [100]
    queue = cast(Queue, attrs.make_class("Named", ["name"])("inbox"))
    some = Tidying(queue, memory, cast(Database, database), metrics, lambda: stream[0])
    return Around(some, memory, database, stream)


def queued(*, is_queued: bool = True) -> RowState:
    return RowState(is_queued, 0, never_acknowledged=False)


def request(variant: str) -> Notice:
    pair = Pair(WHO, "S", "m.room_key_request", ("1",))
    return Notice(KeyRequests(vanishes=True), pair, variant, variant)


def cancelled(memory: Memory) -> list[Superseded]:
    for stream_id, variant in [(5, REQUEST), (6, CANCELLATION)]:
        storing = memory.begin(A, request(variant), WHO, 0, 0.0)
        superseded = memory.settle(storing, stream_id)
    return superseded or []


def test_redundant_rows_are_deleted_once(around: Around) -> None:
    """And counted; their mailboxes are still known."""
    around.tidying.add([Superseded(A, 5, 6), Superseded(B, 7, 8)], WHO)
    assert (2, True) == (len(around.tidying), around.tidying.is_ready)
    around.do_some()

    assert [[(A, 5, 6), (B, 7, 8)]] == around.database.deleted
    assert 2 == around.tidied()
    assert (0, False) == (len(around.tidying), around.tidying.is_ready)
    assert {} == around.tidying._newer
    assert None not in (around.memory.peek(A), around.memory.peek(B))
    assert [] == around.database.asked


def test_nothing_is_asked_where_nothing_is_to_be_done(around: Around) -> None:
    """As when a chore is done that has become ready too late."""
    around.do_some()

    assert [] == around.database.deleted
    assert [] == around.database.vanished


def test_a_row_waits_until_all_readers_see_the_newer_one(around: Around) -> None:
    """Others need not wait for it; nobody looks again before the stream moves."""
    around.stream[0] = 7
    around.tidying.add([Superseded(A, 5, 8), Superseded(B, 6, 7)], WHO)
    around.do_some()
    assert [[(B, 6, 7)]] == around.database.deleted
    assert around.tidying.is_ready
    around.do_some()
    assert not around.tidying.is_ready
    assert 1 == len(around.tidying)
    # What is added may be visible already.
    around.tidying.add([Superseded(B, 3, 7)], WHO)
    assert around.tidying.is_ready
    around.do_some()

    around.stream[0] = 8
    assert around.tidying.is_ready
    around.do_some()
    assert [(A, 5, 8)] == around.database.deleted[-1]
    assert 3 == around.tidied()


def test_a_row_goes_for_the_newest_of_those_that_made_it_redundant(
    around: Around,
) -> None:
    """What is in between may be gone by then; other mailboxes have rows of theirs."""
    around.tidying.add([Superseded(B, 6, 9), Superseded(A, 5, 6)], WHO)
    around.tidying.add([Superseded(A, 6, 7), Superseded(A, 7, 8)], WHO)
    around.do_some()

    expected = [(B, 6, 9), (A, 5, 8), (A, 6, 8), (A, 7, 8)]
    assert [expected] == around.database.deleted
    assert {} == around.tidying._newer


def test_a_mailbox_whose_newer_row_is_not_there_is_forgotten(
    around: Around,
) -> None:
    """Where it is there, the older one was acknowledged in the meantime."""
    around.database.missing = 1
    around.database.states = {
        (A, 6): queued(),
        (B, 8): queued(is_queued=False),
    }
    gone: MailboxKey = ("@r:here", "C")
    around.memory.open(gone, 0)
    rows = [Superseded(A, 5, 6), Superseded(B, 7, 8), Superseded(gone, 1, 2)]
    around.tidying.add(rows, WHO)
    around.do_some()

    assert [[(A, 6), (B, 8), (gone, 2)]] == around.database.asked
    assert around.memory.peek(A) is not None
    assert around.memory.peek(B) is around.memory.peek(gone) is None
    assert 2 == around.tidied()


def test_what_fails_is_tried_again_and_given_up_in_the_end(around: Around) -> None:
    """Its mailbox is forgotten then, and found again."""
    around.database.fails = True
    around.tidying.add([Superseded(A, 5, 6)], WHO)
    for _ in range(MOST_TRIES):
        assert 1 == len(around.tidying)
        assert (A, 5) in around.tidying._newer
        assert around.memory.peek(A) is not None
        with pytest.raises(RuntimeError):
            around.do_some()

    assert 0 == len(around.tidying)
    assert {} == around.tidying._newer
    assert around.memory.peek(A) is None
    assert around.memory.peek(B) is not None
    assert 0 == around.tidied()


def test_mailboxes_of_what_does_not_fit_are_forgotten(around: Around) -> None:
    around.tidying.add([Superseded(A, n, n + 1) for n in range(MOST_OF_ONE)], WHO)
    around.tidying.add([Superseded(B, 5, 6)], WHO)
    around.tidying.add([Superseded(B, 7, 8)], "@honest:here")

    assert around.memory.peek(A) is not None
    assert around.memory.peek(B) is None
    assert (B, 5) not in around.tidying._newer
    assert MOST_OF_ONE + 1 == len(around.tidying)


def test_a_cancellation_vanishes_once_its_request_is_seen_to_be_gone(
    around: Around,
) -> None:
    """It is deleted with the next statement, and counted."""
    around.tidying.add(cancelled(around.memory), WHO)
    around.database.states = {(A, 5): queued(is_queued=False)}
    around.do_some()
    assert [[(A, 5)]] == around.database.asked
    assert 1 == len(around.tidying)
    assert around.tidying.is_ready
    around.do_some()

    assert [[(A, 6)]] == around.database.vanished
    assert 1 == len(around.database.deleted)
    assert 2 == around.tidied()
    assert 0 == len(around.tidying)


def test_what_became_of_rows_is_not_known_where_the_question_fails(
    around: Around,
) -> None:
    """Then the cancellation stays."""
    around.tidying.add(cancelled(around.memory), WHO)
    around.database.is_silent = True
    with pytest.raises(RuntimeError):
        around.do_some()

    assert 0 == len(around.tidying)
    assert not around.memory.vanishing.awaits(A, 5)

"""Who waits, and which of them something of the same sender would overtake."""

from __future__ import annotations

from synapse_withheld.delivery.batch import Batch, Candidate
from synapse_withheld.delivery.confirming.waiting import Waiting, WaitingRoom
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair

SENDER = "@s:hs"
NOTICE = Notice(NoOlm(), Pair(SENDER, "device:S", "m.room_key.withheld"), "key", "")


def waiting(*queues: str) -> Waiting:
    """Return a batch with a believed duplicate for each of some queues."""
    doubtful = [
        Candidate(queue, ("@r:hs", "R"), NOTICE, {}, SENDER, decisions.DUPLICATE)
        for queue in queues
    ]
    batch = Batch({}, {}, SENDER, SENDER, 0.0)
    return Waiting(batch, doubtful, lambda: None, is_stored=False)


def test_what_is_not_answered_is_kept_by_queue() -> None:
    """Each queue is asked about for itself."""
    item = waiting("inbox", "outbox", "inbox")

    assert item.left == 3
    counts = {queue: len(some) for queue, some in item.unanswered.items()}
    assert counts == {"inbox": 2, "outbox": 1}


def test_only_what_waits_for_the_same_users_would_be_overtaken() -> None:
    """Of the same sender, the oldest first."""
    room = WaitingRoom()
    first, second, other_user, other_sender = (waiting("inbox") for _ in range(4))
    room.enter(first, SENDER, ["@a:hs", "@b:hs"])
    room.enter(other_user, SENDER, ["@c:hs"])
    room.enter(other_sender, "@t:hs", ["@a:hs"])
    room.enter(second, SENDER, ["@a:hs"])

    assert room.of(SENDER, {"@a:hs", "@b:hs", "@nobody:hs"}) == [first, second]
    assert room.of(SENDER, {"@nobody:hs"}) == []
    assert room.of("@nobody:hs", {"@a:hs"}) == []


def test_who_left_waits_no_longer() -> None:
    """And nothing is kept of it."""
    room = WaitingRoom()
    first, second = waiting("inbox"), waiting("inbox")
    room.enter(first, SENDER, ["@a:hs", "@b:hs"])
    room.enter(second, SENDER, ["@b:hs"])
    assert (len(room), list(room)) == (2, [first, second])

    room.leave(first)
    assert room.waits_for(SENDER)
    assert room.of(SENDER, {"@a:hs", "@b:hs"}) == [second]
    room.leave(second)

    assert not room.waits_for(SENDER)
    assert list(room) == []


def test_what_is_stored_already_holds_up_nobody() -> None:
    """In `observe` a batch waits for no user."""
    room = WaitingRoom()
    item = waiting("inbox")
    room.enter(item, SENDER, ())

    assert not room.waits_for(SENDER)
    room.leave(item)
    assert len(room) == 0

"""Which cancellations vanish: each condition by itself."""

from __future__ import annotations

import pytest

from synapse_withheld.memory.memory import Memory, Storing
from synapse_withheld.memory.tables.limits import MOST_OF_PAIR, Limits
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import (
    CANCELLATION,
    REQUEST,
    KeyRequests,
    SecretRequests,
)
from tests.unit.memory import naming
from tests.unit.memory.naming import R1, SENDER, records, store, stream_ids

RULE = KeyRequests(vanishes=True)

# Where the stream is when the mailbox is opened, and when a row is pushed out.
OPENED, PUSHED_OUT = 10, 50


def memory(*, opened: int = OPENED, whole: bool = True) -> Memory:
    """Return a memory that has one mailbox open."""
    of = Memory(
        Limits(200_000), sees_reads=True, hold_s=None, position=lambda: PUSHED_OUT
    )
    of.open(R1, opened)
    if whole:
        read_to_the_end(of)
    return of


def read_to_the_end(of: Memory, *found: tuple[int, Notice]) -> None:
    """Learn all rows of the mailbox."""
    mailbox = of.open(R1, OPENED)
    rows = [Row(*each) for each in found]
    of.learn(R1, mailbox, rows, 0, last=True)
    of.vanishing.note_whole(mailbox)


def request(content: str = "c", request_id: str = "1") -> Notice:
    """Return a request whose cancellation may vanish."""
    pair = Pair(SENDER, "A", "m.room_key_request", (request_id,))
    return Notice(RULE, pair, content, REQUEST)


def cancellation(request_id: str = "1") -> Notice:
    """Return what takes it back."""
    pair = Pair(SENDER, "A", "m.room_key_request", (request_id,))
    return Notice(RULE, pair, "cancelled", CANCELLATION)


def went(of: Memory, *stream_ids: int, is_gone: bool = True) -> list[int]:
    """Let redundant rows go; return which cancellations vanish."""
    for stream_id in stream_ids:
        assert of.vanishing.awaits(R1, stream_id)
        of.vanishing.went(R1, stream_id, is_gone=is_gone)
    return vanished(of)


def vanished(of: Memory) -> list[int]:
    """Return which cancellations are to vanish."""
    return [stream_id for _, stream_id in of.vanishing.take(100)]


def test_a_cancellation_vanishes_once_its_request_went() -> None:
    """Nothing is remembered of either, and it is to be deleted once."""
    of = memory()
    store(of, request(), 11)
    store(of, cancellation(), 12)
    assert 0 == len(of.vanishing)

    assert [12] == went(of, 11)
    assert [] == stream_ids(of)
    assert [] == vanished(of)
    assert not of.vanishing.awaits(R1, 11)


@pytest.mark.parametrize("opened", [0, OPENED])
def test_a_cancellation_of_nothing_stays(opened: int) -> None:
    """Nobody knows what it takes back: that was before the mailbox was opened."""
    of = memory(opened=opened)
    store(of, cancellation(), 11)
    store(of, cancellation(), 12)

    assert [] == went(of, 11)
    assert [12] == stream_ids(of)


def test_all_requests_have_to_go() -> None:
    """Some may say something else under the same ID."""
    of = memory()
    store(of, request("a"), 11)
    store(of, request("b"), 12)
    store(of, cancellation(), 13)

    assert [] == went(of, 12)
    assert [13] == went(of, 11)


def test_an_older_cancellation_has_to_go_first() -> None:
    """It would be left, since what makes it redundant would be gone."""
    of = memory()
    store(of, request(), 11)
    store(of, cancellation(), 12)
    store(of, cancellation(), 13)

    assert [] == went(of, 11)
    assert [13] == went(of, 12)


@pytest.mark.parametrize("opened", [0, OPENED])
def test_where_one_request_stays_its_cancellation_stays(opened: int) -> None:
    """A deletion of the device dooms it: what has to do with that is left alone."""
    of = memory(opened=opened)
    store(of, request("a"), 11)
    store(of, request("b"), 12)
    store(of, cancellation(), 13)

    went(of, 11, is_gone=False)
    assert [] == went(of, 12)
    assert [13] == stream_ids(of)


@pytest.mark.parametrize(("up_to", "expected"), [(10, [13]), (11, []), (12, [])])
def test_no_read_may_have_reached_the_lowest_request(
    up_to: int, expected: list[int]
) -> None:
    """Whoever was handed it needs to hear that it is taken back."""
    of = memory()
    store(of, request(), 11)
    store(of, request(), 12)
    store(of, cancellation(), 13)
    of.note_read(*R1, up_to)

    assert expected == went(of, 11, 12)


def test_a_read_that_begins_before_the_request_is_gone_counts() -> None:
    """Also after the cancellation was stored."""
    of = memory()
    store(of, request(), 11)
    store(of, cancellation(), 12)
    of.note_read(*R1, 12)

    assert [] == went(of, 11)


def test_a_request_that_was_handed_out_and_repeated_needs_its_cancellation() -> None:
    """The first one is gone, and nobody read the second."""
    of = memory()
    store(of, request(), 11)
    of.note_read(*R1, 11)
    store(of, request(), 12)
    went(of, 11)
    store(of, cancellation(), 13)

    assert [] == went(of, 12)


def test_what_was_handed_out_cancelled_and_asked_again_needs_the_last_one() -> None:
    """The first cancellation was not handed out."""
    of = memory()
    store(of, request(), 11)
    of.note_read(*R1, 11)
    store(of, cancellation(), 12)
    assert [] == went(of, 11)
    store(of, request(), 13)
    store(of, cancellation(), 14)

    assert [] == went(of, 12, 13)
    assert [14] == stream_ids(of)


def test_what_was_taken_back_unread_and_asked_again_is_asked_for() -> None:
    """The cancellation in between goes, and later the other."""
    of = memory()
    store(of, request(), 11)
    store(of, cancellation(), 12)
    store(of, request(), 13)
    assert [12] == went(of, 11)
    assert [13] == stream_ids(of)

    store(of, cancellation(), 14)
    assert [14] == went(of, 13)


def test_nothing_of_the_pair_may_be_in_flight() -> None:
    """It may get a lower stream ID than the cancellation."""
    for in_flight, expected in [(request(), []), (request("c", "2"), [13])]:
        of = memory()
        store(of, request(), 11)
        store(of, cancellation(), 13)
        begin(of, in_flight)

        assert expected == went(of, 11)


def begin(of: Memory, notice: Notice) -> Storing:
    """Let a notice be on its way."""
    return of.begin(R1, notice, SENDER, 0, 0.0)


def test_a_request_that_is_settled_after_its_cancellation_is_waited_for() -> None:
    """On PostgreSQL ten threads shuffle."""
    of = memory()
    store(of, request("a"), 11)
    late = begin(of, request("b"))
    store(of, cancellation(), 13)
    of.settle(late, 12)

    assert [] == went(of, 11)
    assert [13] == went(of, 12)


@pytest.mark.parametrize(("stream_id", "expected"), [(9, []), (10, []), (11, [13])])
def test_a_request_that_was_found_counts_from_where_the_mailbox_was_opened(
    stream_id: int, expected: list[int]
) -> None:
    """What is older may have been handed out by an earlier process."""
    of = memory()
    read_to_the_end(of, (stream_id, request()))
    store(of, request(), 12)
    went(of, stream_id)
    store(of, cancellation(), 13)

    assert expected == went(of, 12)


def test_nothing_vanishes_before_all_that_is_queued_is_known() -> None:
    """Then it does, unless it turns out that there was more."""
    for found, expected in [([], [12]), ([(5, request("b"))], [])]:
        of = memory(whole=False)
        store(of, request(), 11)
        store(of, cancellation(), 12)
        assert [] == went(of, 11)

        read_to_the_end(of, *found)
        assert expected == vanished(of)
        # The one that was found may have been handed out.
        assert [] == went(of, *(stream_id for stream_id, _ in found))


def test_nothing_vanishes_where_a_mailbox_was_not_read_to_its_end() -> None:
    """Of a very large one the oldest rows are not looked at."""
    of = memory(whole=False)
    of.learn(R1, of.open(R1, OPENED), [], 0, last=True)
    store(of, request(), 11)
    store(of, cancellation(), 12)

    assert [] == went(of, 11)


def test_nothing_vanishes_after_something_was_stored_unseen() -> None:
    """Until all is known again."""
    of = memory()
    store(of, request(), 11)
    store(of, cancellation(), 12)
    of.open(R1, OPENED).doubt()
    assert [] == went(of, 11)

    read_to_the_end(of)
    assert [12] == vanished(of)


def test_what_is_decided_late_is_decided_by_what_happened_until_then() -> None:
    """A read of another request of the pair, or one that is to go."""
    of = memory(whole=False)
    store(of, request(), 11)
    store(of, cancellation(), 12)
    went(of, 11)
    of.note_read(*R1, 12)
    read_to_the_end(of)
    assert [] == vanished(of)

    of = memory(whole=False)
    store(of, request(), 11)
    store(of, cancellation(), 12)
    went(of, 11)
    store(of, request(), 13)
    store(of, cancellation(), 14)
    read_to_the_end(of)
    assert [] == vanished(of)
    assert [14] == went(of, 12, 13)


def test_a_pair_that_was_pushed_out_counts_as_handed_out() -> None:
    """Its first request was, and is gone; what is found again looks unread."""
    of = memory()
    store(of, request(), 11)
    of.note_read(*R1, 11)
    store(of, request(), 12)
    went(of, 11)
    push_out(of)
    read_to_the_end(of, (12, request()))
    store(of, cancellation(), 1200)

    assert [] == went(of, 12)
    # What is asked for after that is not touched by it.
    store(of, request("c", "new"), 1201)
    store(of, cancellation("new"), 1202)
    assert [1202] == went(of, 1201)


def push_out(of: Memory) -> None:
    """Ask for so much that the oldest request is forgotten."""
    for number in range(1000):
        store(of, request("c", f"other {number}"), 100 + number)
    assert 12 not in stream_ids(of)
    # So that there is room again.
    for record in records(of)[:10]:
        of.drop(R1, record)


def test_what_is_pushed_out_makes_nobodys_notices_count_as_read() -> None:
    """Or whoever asks for much would have all of them stored."""
    of = memory()
    store(of, request(), 12)
    push_out(of)

    assert OPENED == of.open(R1, 0).handed_out


def test_of_a_pair_that_asks_for_too_much_nothing_vanishes() -> None:
    """One of its requests is queued and forgotten."""
    of = memory()
    for number in range(MOST_OF_PAIR + 1):
        store(of, request(str(number)), 60 + number)
    store(of, cancellation(), 90)

    assert [] == went(of, *range(61, 61 + MOST_OF_PAIR))


def test_of_what_does_not_vanish_nothing_is_noted_as_it_is_pushed_out() -> None:
    """Nor where no read is seen, whatever is asked for."""
    of = memory()
    for number in range(MOST_OF_PAIR + 1):
        store(of, naming.request(content=str(number)), 60 + number)
    assert MOST_OF_PAIR == of.pairs
    assert of.open(R1, OPENED).asked is None

    of = naming.memory()
    for number in range(MOST_OF_PAIR + 1):
        store(of, request(str(number)), 60 + number)
    assert MOST_OF_PAIR == of.pairs
    assert of.open(R1, OPENED).asked is None


def test_each_doubt_ends_that_all_is_known() -> None:
    """Not only the first."""
    mailbox = memory(whole=False).open(R1, OPENED)
    for _ in range(3):
        assert not mailbox.is_whole
        mailbox.note_whole()
        assert mailbox.is_whole
        mailbox.doubt()
    assert not mailbox.is_whole


def test_a_cancellation_that_was_found_stays() -> None:
    """An old Synapse may have stored it for somebody else."""
    of = memory()
    store(of, request(), 11)
    read_to_the_end(of, (12, cancellation()))

    assert [] == went(of, 11)


def test_after_an_eviction_what_was_asked_is_not_known() -> None:
    """What is found counts from where the mailbox is opened again."""
    of = memory()
    store(of, request(), 11)
    of.forget(R1)
    of.open(R1, 11)
    read_to_the_end(of, (11, request()))
    store(of, cancellation(), 12)

    assert [] == went(of, 11)


def test_what_became_of_rows_of_a_forgotten_mailbox_does_not_matter() -> None:
    """Nor of rows that are not waited for."""
    of = memory()
    of.vanishing.went(R1, 7, is_gone=True)
    store(of, request(), 11)
    store(of, cancellation(), 12)
    of.vanishing.went(R1, 7, is_gone=True)
    of.forget(R1)
    assert not of.vanishing.awaits(R1, 11)
    of.vanishing.went(R1, 11, is_gone=True)

    assert [] == vanished(of)


def test_a_mailbox_that_was_forgotten_while_it_was_read_is_left_alone() -> None:
    """Another one is open by then."""
    of = memory(whole=False)
    mailbox = of.open(R1, OPENED)
    store(of, request(), 11)
    store(of, cancellation(), 12)
    went(of, 11)
    of.forget(R1)
    of.vanishing.note_whole(mailbox)

    assert [] == vanished(of)


def test_keys_and_secrets_are_apart() -> None:
    """As with any pair."""
    of = memory()
    secret = Pair(SENDER, "A", "m.secret.request", ("1",))
    rule = SecretRequests(vanishes=True)
    store(of, request(), 11)
    store(of, Notice(rule, secret, "cancelled", CANCELLATION), 12)
    store(of, Notice(rule, secret, "cancelled", CANCELLATION), 13)

    assert [] == went(of, 12)


def test_what_does_not_vanish_is_not_waited_for() -> None:
    """With `true`, and where no read is seen."""
    of = memory()
    store(of, naming.request(), 11)
    store(of, naming.cancellation(), 12)
    assert not of.vanishing.awaits(R1, 11)

    of = naming.memory()
    store(of, request(), 11)
    store(of, cancellation(), 12)
    assert not of.vanishing.awaits(R1, 11)


def test_nothing_is_kept_of_what_is_gone() -> None:
    """Or whoever asks and cancels for ever would fill the memory."""
    of = memory()
    mailbox = of.open(R1, OPENED)
    store(of, request(), 11)
    store(of, cancellation(), 12)
    went(of, 11)
    # Its device is gone, and so is what made it redundant.
    stale = Row(13, request("c", "2"), stale=True)
    of.learn(R1, mailbox, [stale], 14, last=True)
    went(of, 13)
    # Each was repeated, and is pushed out.
    for number in range(2000):
        for again in range(2):
            store(of, request("c", f"more {number}"), 20 + 2 * number + again)
        went(of, 20 + 2 * number)

    assert mailbox.asked is not None
    assert len(mailbox) == len(mailbox.asked.lowest) == 1000
    assert {} == mailbox.asked.going
    assert {} == mailbox.asked.waits
    assert {} == mailbox.asked.undecided


def test_nothing_is_kept_of_what_was_never_decided() -> None:
    """Where a mailbox is too large to be read to its end."""
    of = memory(whole=False)
    for number in range(1100):
        store(of, request("c", str(number)), 20 + 2 * number)
        store(of, cancellation(str(number)), 21 + 2 * number)
        went(of, 20 + 2 * number)

    asked = of.open(R1, OPENED).asked
    assert asked is not None
    assert 1000 == len(asked.undecided)

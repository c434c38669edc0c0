"""Who sends and who receives most, and the share of repeats that collapsed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.operators.share import collapsed_share
from synapse_withheld.operators.tally import CAPACITY, Count, HeavyHitters, Tally
from synapse_withheld.rules.content import MAX_ID_LENGTH
from synapse_withheld.rules.decision import (
    DUPLICATE,
    FIRST,
    NEW_KEY,
    OVERDUE,
    READ,
    REPEATED,
)
from tests.harness.messages import make_key, make_notice
from tests.model.play import RECIPIENT, Play

NOTICE = make_notice(sender_key=make_key("s"), from_device="S")
# Some often, some rarely.
KEYS = st.one_of(st.sampled_from("ab"), st.sampled_from("cdefghij"), st.text("xyz"))


# Of a thousand all are counted exactly, as on most servers.
@given(st.lists(KEYS, max_size=200), st.integers(1, 8) | st.just(1000))
def test_the_true_number_is_within_the_error_and_that_within_its_bound(
    occurrences: list[str], capacity: int
) -> None:
    sketch = HeavyHitters(capacity)
    for each in occurrences:
        sketch.add(each)
    true = Counter(occurrences)
    counted = sketch.most(capacity)

    assert len(occurrences) == sketch.total
    assert min(capacity, len(true)) == len(counted)
    for count in counted:
        assert count.occurred - count.error <= true[count.key] <= count.occurred
        assert count.error <= len(occurrences) / capacity
    missing = true.keys() - {each.key for each in counted}
    assert all(true[key] <= len(occurrences) / capacity for key in missing)


def test_the_most_certain_come_first() -> None:
    """One that came last and may have come before is not ahead of a regular."""
    sketch = HeavyHitters(2)
    for each in "aaabbbbc":
        sketch.add(each)

    # Of c it is known only that it came once, and at most four times.
    assert [Count("b", 4, 0), Count("c", 4, 3)] == sketch.most(2)
    assert [Count("b", 4, 0)] == sketch.most(1)


def test_notices_count_for_their_sender_and_their_mailbox() -> None:
    """Whatever is decided about them, and by minute."""
    play = Play()
    for _ in range(3):
        play.send(NOTICE)

    assert [Count(("no_olm", "@s:here"), 3, 0)] == play.tally.senders.most(5)
    assert [Count(("no_olm", (RECIPIENT, "R")), 3, 0)] == play.tally.recipients.most(5)
    assert 1 == play.tally.history.of("deliver")[-1]
    assert 2 == play.tally.history.of("collapse")[-1]


def test_invented_names_take_no_more_room_than_real_ones() -> None:
    tally = Tally(lambda: 0.0)
    for number in range(2 * CAPACITY):
        tally.came_from("no_olm", f"@{number}" + "s" * 10_000)
        tally.came_for("no_olm", ("@r:here", f"{number}" * 10_000))

    assert CAPACITY == len(tally.senders.most(2 * CAPACITY))
    for each in tally.recipients.most(2 * CAPACITY):
        assert MAX_ID_LENGTH >= max(len(part) for part in each.key[1])


def test_the_share_is_that_of_what_was_repeated() -> None:
    """First notices count for nothing, nor what can not collapse."""
    counts = [
        ("no_olm", DUPLICATE, 60),
        ("withheld", DUPLICATE, 3),
        ("withheld", NEW_KEY, 7),
        ("no_olm", OVERDUE, 10),
        ("no_olm", READ, 1000),
        ("no_olm", FIRST, 1000),
        ("key_requests", REPEATED, 1000),
    ]
    assert 63 / 80 == collapsed_share(counts)
    assert collapsed_share(counts[-3:]) is None

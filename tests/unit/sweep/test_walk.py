"""The sweep leaves exactly what no newer row makes redundant."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.sweep import covering
from synapse_withheld.sweep.walk import Counts, Options, Progress, Sweep
from tests.harness.backlog import (
    FakeRows,
    must_stay,
    notice,
    other,
    ruleset,
    text_of,
)
from tests.harness.messages import OLDER_WITHHELD, WITHHELD, make_notice

R, Q = ("@r:hs", "R"), ("@q:hs", "Q")
SCOPE = {"room_id": "!room:hs", "session_id": "session"}


def finish(sweep: Sweep) -> Progress:
    while not sweep.progress.done:
        driven(sweep.step())
    return sweep.progress


def test_progress_counts_what_was_seen_and_done() -> None:
    """Bytes are those of the rows that are gone."""
    # Synapse escapes no letter.
    texts = [notice(reason="~").replace("~", "é"), notice(), other(), notice()]
    rows = FakeRows({(*R, number): text for number, text in enumerate(texts, 1)})
    size = len(texts[0]) + 1 + len(texts[1])
    counts = Counts(notices=3, redundant=2, deleted=2, bytes=size)
    expected = Progress(rows=4, rules={"no_olm": counts}, mailbox=R, done=True)
    assert expected == finish(Sweep(rows, Options()))


def test_what_is_left_alone_is_counted() -> None:
    """Synapse's own deletion of a device would stop early."""
    rows = FakeRows({(*key, number): notice() for key in (Q, R) for number in (1, 2)})
    rows.doomed_mailboxes = {R}
    progress = finish(Sweep(rows, Options()))
    assert {(*Q, 2), (*R, 1), (*R, 2)} == rows.table.keys()
    assert (1, 1) == (progress.total.left_alone, progress.total.deleted)


def test_what_readers_do_not_see_yet_neither_goes_nor_covers() -> None:
    """Else a reader may see neither of two for a moment."""
    rows = FakeRows({(*R, number): notice() for number in (1, 2, 3)})
    rows.hidden_from = 3
    finish(Sweep(rows, Options()))
    assert {(*R, 2), (*R, 3)} == rows.table.keys()


def test_pairs_beyond_the_limit_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are remembered; the next mailbox has room again."""
    monkeypatch.setattr(covering, "MOST_SLOTS", 2)
    texts = [notice(device=f"D{number % 3}", reason=f"{number}") for number in range(6)]
    places = [(*key, number) for key in (Q, R) for number in range(6)]
    rows = FakeRows(dict(zip(places, texts * 2)))
    assert 4 == finish(Sweep(rows, Options())).total.deleted
    assert {(*key, n) for key in (Q, R) for n in (0, 3, 4, 5)} == rows.table.keys()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_rows_that_share_a_place_are_left_alone(batch_size: int) -> None:
    rows = FakeRows({(*R, number): notice() for number in range(1, 8)})
    rows.doubles = {(*R, 3): other(), (*R, 5): notice(), (*R, 7): other()}
    sweep = Sweep(rows, Options(batch_size=batch_size))
    finish(sweep)

    assert {(*R, 3), (*R, 5), (*R, 6), (*R, 7)} == rows.table.keys()
    assert 4 == sweep.progress.total.notices


def test_memory_does_not_grow_with_the_table() -> None:
    """What one mailbox needed is forgotten in the next, texts included."""

    def grown_by(count: int) -> int:
        texts = {(f"@u{n:05}:hs", "D", m): notice(f"{n} {m}", None, reason="x" * 500)
                 for n in range(count) for m in range(2)}  # fmt: skip
        rows = FakeRows(texts)
        sweep = Sweep(rows, Options(batch_size=50))
        tracemalloc.start()
        try:
            finish(sweep)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    # What is made once is there by then.
    grown_by(10)
    # A mailbox takes some kilobytes, one text half of one.
    assert grown_by(3000) < grown_by(1000) + 20_000


KEYS = st.sampled_from([("@q:hs", "A")] * 3 + [("@q:hs", "B"), ("@r:hs", "A")])
TEXTS = st.one_of(
    st.just(other()),
    st.builds(
        text_of,
        # Mostly alike, so that many of them meet.
        st.sampled_from(["@s:hs"] * 5 + ["@t:hs"]),
        st.sampled_from([WITHHELD] * 5 + [OLDER_WITHHELD]),
        st.builds(
            lambda key, device, code, scope: make_notice(
                key, device, code=code, **scope
            ),
            st.sampled_from(["key1", "key2"]),
            st.sampled_from([None, "D1", "D1", "D1", "D2"]),
            st.sampled_from(["m.no_olm"] * 5 + ["m.unavailable"]),
            st.sampled_from([{}, {}, SCOPE, {"room_id": "!room:hs"}]),
        ),
    ),
)
RULES = st.sampled_from([ruleset(merge_scopes=each) for each in (True, False)])
OPTIONS = st.builds(Options, st.integers(1, 7), RULES)
# What happens: a message arrives, a mailbox is read up to now, either of two sweeps
# takes a step, fails at one, or is killed and taken up again.
STORED = st.tuples(st.just("store"), KEYS, TEXTS)
STEPS = st.tuples(st.sampled_from(["step", "fail", "kill"]), st.integers(0, 1))
# Rarely, as nothing of the mailbox is left to be judged.
READ = st.tuples(st.just("acknowledge"), KEYS)
EVENTS = st.lists(
    st.one_of(*[STORED] * 6, *[STEPS] * 6, READ),
    max_size=60,
)


@given(
    st.lists(st.tuples(KEYS, TEXTS), min_size=10, max_size=40),
    OPTIONS,
    EVENTS,
    st.sets(KEYS, max_size=1),
)
def test_whatever_happens_meanwhile_the_right_rows_stay(
    backlog: Any, options: Options, events: Any, doomed: Any
) -> None:
    """As told by a plain comparison of all rows with all later ones."""
    everything = {(*key, n): text for n, (key, text) in enumerate(backlog, 1)}
    rows = FakeRows(everything)
    rows.doomed_mailboxes = doomed
    read_up_to: dict[Any, int] = {}
    sweeps = [Sweep(rows, options), Sweep(rows, options)]
    for now, (what, *about) in enumerate(events, len(backlog) + 1):
        if what == "store":
            key, text = about
            everything[(*key, now)] = rows.table[(*key, now)] = text
        elif what == "acknowledge":
            read_up_to[about[0]] = now
            for place in [each for each in rows.table if each[:2] == about[0]]:
                del rows.table[place]
        else:
            take_a_step(rows, sweeps, options, what, about[0])
    left = {place for place in everything if place[2] > read_up_to.get(place[:2], 0)}
    expected = must_stay(everything, options, doomed=doomed) & left
    assert expected <= rows.table.keys()
    finish(Sweep(rows, options))
    assert expected == rows.table.keys()


def take_a_step(
    rows: FakeRows, sweeps: list[Sweep], options: Options, how: str, number: int
) -> None:
    """Let one of the sweeps take a step, fail at it, or be killed and begin again."""
    if how == "kill":
        sweeps[number] = Sweep(rows, options, sweeps[number].progress.mailbox)
        return
    rows.failing = how == "fail"
    try:
        driven(sweeps[number].step())
    except ConnectionError:
        assert how == "fail"
    rows.failing = 0

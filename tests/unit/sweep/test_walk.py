"""The sweep leaves exactly what no newer row makes redundant."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep import covering
from synapse_withheld.sweep.walk import Counts, Options, Progress, Sweep
from tests.harness.backlog import FakeRows, notice, other, text_of
from tests.harness.messages import PLAIN
from tests.harness.rules import EVERY_RULE
from tests.unit.rules.test_redundant import MESSAGES, Message, reference

R, Q = ("@r:hs", "R"), ("@q:hs", "Q")


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
    progress = finish(Sweep(rows, Options(batch_size=batch_size)))
    assert {(*R, 3), (*R, 5), (*R, 6), (*R, 7)} == rows.table.keys()
    assert 4 == progress.total.notices


KEYS = st.sampled_from([("@q:hs", "A")] * 3 + [("@q:hs", "B"), ("@r:hs", "A")])
ROWS = st.tuples(KEYS, MESSAGES | st.just(Message("@s:hs", PLAIN, {})))
# What happens: a message arrives, a mailbox is read up to now, either of two sweeps
# takes a step, fails at one, or is killed and taken up again.
STORED = st.tuples(st.just("store"), ROWS)
STEPS = st.tuples(st.sampled_from(["step", "fail", "kill"]), st.integers(0, 1))
# Rarely, as nothing of the mailbox is left to be judged.
READ = st.tuples(st.just("acknowledge"), KEYS)


@given(
    st.lists(ROWS, min_size=10, max_size=40),
    st.integers(1, 7),
    st.booleans(),
    st.lists(st.one_of(*[STORED] * 6, *[STEPS] * 6, READ), max_size=60),
    st.sets(KEYS, max_size=1),
)
def test_whatever_happens_meanwhile_the_right_rows_stay(
    backlog: Any, batch_size: int, merges: bool, events: Any, doomed: Any
) -> None:
    """Of every rule, as the table of the design says it."""
    config = Config(rules=EVERY_RULE, merge_scopes=merges)
    options = Options(batch_size, Ruleset.of(config))
    rows = FakeRows({})
    rows.doomed_mailboxes = doomed
    stored: dict[Any, dict[int, Message]] = {}
    read_up_to: dict[Any, int] = {}
    sweeps = [Sweep(rows, options), Sweep(rows, options)]
    happens = [*(("store", each) for each in backlog), *events]
    for now, (what, about) in enumerate(happens, 1):
        if what == "store":
            key, message = about
            message = attrs.evolve(message, seen=False, stale=False)
            stored.setdefault(key, {})[now] = message
            text = text_of(message.sender, message.type, message.content)
            rows.table[(*key, now)] = text
        elif what == "acknowledge":
            read_up_to[about] = now
            for place in [each for each in rows.table if each[:2] == about]:
                del rows.table[place]
        else:
            take_a_step(rows, sweeps, options, what, about)
    expected = {
        (*key, stream_id)
        for key, messages in stored.items()
        for stream_id in staying(messages, merges=merges, doomed=key in doomed)
        if stream_id > read_up_to.get(key, 0)
    }
    assert expected <= rows.table.keys()
    finish(Sweep(rows, options))
    assert expected == rows.table.keys()


def staying(messages: dict[int, Message], *, merges: bool, doomed: bool) -> set[int]:
    gone = reference([*messages.values()], len(messages), merges=merges)
    return {each for n, each in enumerate(messages, 1) if doomed or n not in gone}


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

"""Which cancellations vanish: each condition by itself."""

from __future__ import annotations

from functools import partial

import pytest

from synapse_withheld.memory import vanishing
from synapse_withheld.memory.tables.limits import MOST_OF_PAIR
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import KeyRequests
from tests.unit.memory import known
from tests.unit.memory.known import R1, Known

RULE = KeyRequests(vanishes=True)
request = partial(known.request, rule=RULE)
cancellation = partial(known.cancellation, rule=RULE)

# Where the stream is when the mailbox is opened, and when a row is pushed out.
OPENED, PUSHED_OUT = 10, 50


def memory(*, opened: int = OPENED, whole: bool = True) -> Known:
    of = Known(sees_reads=True, position=lambda: PUSHED_OUT)
    of.forget(R1)
    of.open(R1, opened)
    if whole:
        read_to_the_end(of)
    return of


def read_to_the_end(of: Known, *found: tuple[int, Notice]) -> None:
    of.found(*found)
    of.vanishing.note_whole(of.open(R1, OPENED))


def play(of: Known, script: str) -> list[int]:
    """Let something happen to rows; return which cancellations vanish.

    Args:
        of: The memory.
        script: Steps, each about a row. `r11a` is a request and `c12` a cancellation
            that are stored, `f5a` a request that is found with all that is queued.
            `b12a`: a request begins to be stored, to be settled there with `s12`.
            `a10`: all devices of the user were asked there; `A10`: told not to.
            `g11` and `k11`: a redundant row is gone, or kept. `R11`: a read begins.
            `w`: all that is queued is known; `d`: it is doubted.
    """
    storing = {}
    for step in script.split():
        word, stream_id = step[0], int(step[1:].rstrip("ab") or 0)
        content = step[1:].lstrip("0123456789") or "c"
        if word == "r":
            of.stored(request(content), stream_id)
        elif word == "b":
            storing[stream_id] = of.begun(request(content))
        elif word == "s":
            of.settle(storing[stream_id], stream_id)
        elif word == "c":
            of.stored(cancellation(), stream_id)
        elif word in "fw":
            found = [(stream_id, request(content))] if word == "f" else []
            read_to_the_end(of, *found)
        elif word in "aA":
            told = request() if word == "a" else cancellation()
            of.vanishing.note_for_all(R1[0], Row(stream_id, told))
        elif word == "R":
            of.note_read(*R1, stream_id)
        elif word == "d":
            of.open(R1, OPENED).doubt()
        else:
            assert word in "gk"
            assert of.vanishing.awaits(R1, stream_id)
            of.vanishing.went(R1, stream_id, is_gone=word == "g")
            assert not of.vanishing.awaits(R1, stream_id)
    return [stream_id for _, stream_id in of.vanishing.take(100)]


@pytest.mark.parametrize(
    ("whole", "fact", "script", "expected"),
    [
        (True, "it vanishes once its request went", "r11 c12 g11", [12]),
        (True, "one of nothing stays", "c11 c12 g11", []),
        (True, "all requests have to go", "r11a r12b c13 g12", []),
        (True, "then it vanishes", "r11a r12b c13 g12 g11", [13]),
        # It would be left, since what makes it redundant would be gone.
        (True, "an older one has to go first", "r11 c12 c13 g11", []),
        (True, "then the newer one vanishes", "r11 c12 c13 g11 g12", [13]),
        # A deletion of the device dooms it: what has to do with that is left alone.
        (True, "it stays where one request stays", "r11a r12b c13 k11 g12", []),
        # What is in flight may get a lower stream ID than the cancellation.
        (True, "nothing of the pair may be in flight", "r11 c13 b12 g11", []),
        (True, "what is settled late is waited for", "r11a b12b c13 s12 g11", []),
        (True, "until it went", "r11a b12b c13 s12 g11 g12", [13]),
        # Whoever was handed a request needs to hear that it is taken back.
        (True, "a read of the lowest counts", "r11 r12 c13 R11 g11 g12", []),
        (True, "one of less does not", "r11 r12 c13 R10 g11 g12", [13]),
        (True, "until it is gone", "r11 c12 R12 g11", []),
        (True, "what was handed out, and repeated", "r11 R11 r12 g11 c13 g12", []),
        (True, "or taken back and repeated", "r11 R11 c12 g11 r13 c14 g12 g13", []),
        (True, "what was not handed out, and repeated, stays", "r11 c12 r13 g11", [12]),
        (True, "and may be taken back", "r11 c12 r13 g11 c14 g13", [12, 14]),
        # What is older may have been handed out by an earlier process.
        (True, "what was found below the position counts", "f10 r12 g10 c13 g12", []),
        (True, "above it does not", "f11 r12 g11 c13 g12", [13]),
        (True, "nothing vanishes in doubt", "r11 c12 d g11", []),
        (True, "until all is known again", "r11 c12 d g11 w", [12]),
        (True, "and each doubt counts", "d w r11 c12 d g11", []),
        # All devices were asked before the mailbox was opened.
        (True, "it may have been handed that", "a10 r11 c12 g11", []),
        (True, "the first one counts", "a10 a11 r11 c12 g11", []),
        (True, "a cancellation does not", "A10 r11 c12 g11", [12]),
        # As where a mailbox is too large to be read to its end.
        (False, "nothing vanishes", "r11 c12 g11", []),
        (False, "until all is known", "r11 c12 g11 w", [12]),
        (False, "unless there was more", "r11 c12 g11 f5b", []),
        (False, "which may have been handed out", "r11 c12 g11 f5b g5", []),
        (False, "a read until then counts", "r11 c12 g11 R12 w", []),
        (False, "and so does what is to go", "r11 c12 g11 r13 c14 w", []),
        (False, "until it is gone", "r11 c12 g11 r13 c14 w g12 g13", [14]),
    ],
)
def test_a_cancellation_vanishes_once_no_request_can_be_handed_out(
    whole: bool, fact: str, script: str, expected: list[int]
) -> None:
    """Where all that is queued is known: then nothing is remembered of it."""
    of = memory(whole=whole)
    # What is in flight of another pair is harmless.
    of.begun(request(request_id="2"))
    assert expected == play(of, script), fact

    asked = of.open(R1, 0).asked
    assert not expected or of.rows() or (asked is not None and not asked.lowest)
    assert not set(expected) & set(of.rows())
    assert 0 == len(of.vanishing)


def test_where_no_request_went_nothing_vanishes_though_nothing_was_read() -> None:
    assert [] == play(memory(opened=0), "c1 c2 g1")


def test_what_is_forgotten_by_the_time_a_row_is_gone_does_not_vanish() -> None:
    """The row, its cancellation, its mailbox; or it was opened anew."""
    of = memory()
    play(of, "c11 c12")
    of.vanishing.went(R1, 10, is_gone=True)
    of.gone(*of.records())
    play(of, "g11 r13 c14")
    of.forget(R1)
    assert not of.vanishing.awaits(R1, 13)
    of.vanishing.went(R1, 13, is_gone=True)
    of.open(R1, OPENED)
    of.vanishing.went(R1, 13, is_gone=True)

    assert 0 == len(of.vanishing)


def test_a_pair_that_was_pushed_out_counts_as_handed_out() -> None:
    """Its first request was, and is gone; what is found again looks unread."""
    of = memory()
    play(of, "r11 R11 r12 g11")
    for number in range(1000):
        of.stored(request("c", f"other {number}"), 100 + number)
    assert 12 not in of.rows()
    # So that there is room again.
    for record in of.records()[:10]:
        of.gone(record)
    assert [] == play(of, "f12 c1200 g12")
    # What is asked for after that is not touched by it.
    of.stored(request("c", "new"), 1201)
    of.stored(cancellation("new"), 1202)
    assert [1202] == play(of, "g1201")


def test_of_a_pair_that_asks_for_too_much_nothing_vanishes() -> None:
    """One of its requests is queued and forgotten."""
    of = memory()
    for number in range(MOST_OF_PAIR + 1):
        of.stored(request(str(number)), 60 + number)
    gone = " ".join(f"g{each}" for each in range(61, 61 + MOST_OF_PAIR))

    assert [] == play(of, f"c90 {gone}")


def test_of_so_many_requests_to_all_devices_is_known_that_they_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vanishing, "MOST_FOR_ALL", 1)
    of = memory()
    for request_id in ("1", "2"):
        of.vanishing.note_for_all(R1[0], Row(10, request(request_id=request_id)))

    assert [12] == play(of, "r11 c12 g11")


# Nothing is kept of what is gone: whoever asks and cancels for ever would fill the
# memory.


@pytest.mark.parametrize(
    ("of", "rule"), [(memory(), known.KEYS), (Known(sees_reads=True), RULE)]
)
def test_where_nothing_vanishes_nothing_is_noted(of: Known, rule: KeyRequests) -> None:
    """With `true`, and where no read is seen; though rows go and are pushed out."""
    of.stored(known.no_olm(), 10)
    for number in [0, *range(MOST_OF_PAIR + 1)]:
        of.stored(known.request(str(number), rule=rule), 60 + number)

    assert not of.vanishing.awaits(R1, 60)
    # Beside what another pair has.
    assert 1 + MOST_OF_PAIR == of.pairs
    assert of.open(R1, OPENED).asked is None


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_is_kept_of_what_is_gone(whole: bool) -> None:
    """Repeated and pushed out; or cancelled where not all that is queued is known."""
    of = memory(whole=whole)
    again = request if whole else cancellation
    for number in range(20, 4020, 2):
        of.stored(request(request_id=str(number)), number)
        of.stored(again(request_id=str(number)), number + 1)
        play(of, f"g{number}")
    # Its device is gone, and so is what made it redundant.
    stale = Row(4021, request(request_id="2"), stale=True)
    of.learn(of.open(R1, 0), [stale], 4022, last=True)
    play(of, "g4021")

    asked = of.open(R1, OPENED).asked
    assert asked is not None
    assert 1000 == of.pairs == len(asked.lowest)
    assert (0 if whole else 1000) == len(asked.undecided)
    assert not [*asked.going, *asked.waits]

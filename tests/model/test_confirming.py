"""How long a believed duplicate waits, and for what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.door import Batch
from tests.model.faults import lost
from tests.model.play import (
    CONFIRM,
    CONFIRM_ABROAD,
    NEW_KEY,
    NOTICE,
    RECIPIENT,
    Play,
)

# As many as a client sends at once.
MOST_OF_REQUEST = 250


def known(devices: int = 1, **config: Any) -> Play:
    """Return a play in which a notice waits for some devices."""
    play = Play(**config)
    names = [f"D{number}" for number in range(devices)]
    for name in names:
        play.hs.add_device(RECIPIENT, name)
    for begin in range(0, devices + 1, MOST_OF_REQUEST):
        play.send(NOTICE, ["R", *names][begin : begin + MOST_OF_REQUEST])
    return play


def test_one_statement_is_in_flight_and_one_gathers_what_comes_meanwhile() -> None:
    """A duplicate is never answered by a statement that was sent before it came."""
    play = known()
    first = play.begin(NOTICE)
    rest = [play.begin(NOTICE) for _ in range(10)]
    assert play.steps() == [CONFIRM]
    play.hs.take_step()
    assert first.left_out
    assert [None] * 10 == [batch.handed for batch in rest]
    assert play.steps() == [CONFIRM]
    play.hs.take_step()

    assert all(batch.left_out for batch in rest)


def test_the_queues_take_turns() -> None:
    """One statement in flight is for both of them."""
    play = known()
    play.send_abroad(NOTICE)
    play.begin(NOTICE)
    for _ in range(3):
        play.begin(NOTICE, sender="@s:here")
        play.begin_abroad(NOTICE)
    asked = []
    while play.hs.steps:
        asked.append(play.steps())
        play.hs.take_step()

    assert [[CONFIRM], [CONFIRM_ABROAD], [CONFIRM]] == asked


def test_a_row_that_took_the_place_of_another_is_asked_about() -> None:
    """Which row it is, is chosen when the statement is sent."""
    play = known()
    play.send(NOTICE, sender="@t:here")
    busy = play.begin(NOTICE, sender="@t:here")
    play.begin(NEW_KEY)
    assert play.steps()[0] == CONFIRM
    while len(play.hs.steps) > 1:
        play.hs.take_step(-1)
    duplicate = play.begin(NEW_KEY)
    assert busy.handed is None
    play.hs.take_step()
    play.hs.take_step()

    assert busy.left_out
    assert duplicate.left_out


def test_where_another_row_took_the_place_of_one_it_is_asked_again() -> None:
    """The first answer is about a row that was deleted for the newer one."""
    play = known()
    everybody = play.begin(NOTICE, "*")
    duplicate = play.begin(NOTICE)
    confirming = play.step(CONFIRM)
    confirming.hangs = True
    play.hs.take_all_steps()
    play.hs.pass_time(0.01)
    play.hs.take_all_steps()
    assert everybody.ended is not None
    assert [2] == play.queued()
    play.hs.answer(confirming)
    assert duplicate.handed is None
    play.hs.answer(play.step(CONFIRM))

    assert duplicate.left_out


def test_a_row_that_was_read_lets_its_duplicate_be_stored() -> None:
    """It says something that nothing queued says."""
    play = known()
    duplicate = play.begin(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.hs.come_to_rest()

    assert not duplicate.left_out
    assert [2] == play.queued()


def test_everybody_goes_when_a_statement_is_out_for_half_a_second() -> None:
    """And whoever comes until it is back does not wait at all."""
    play = known()
    waiting = [play.begin(NOTICE) for _ in range(3)]
    play.hs.pass_time(0.49)
    assert [None] * 3 == [batch.handed for batch in waiting]
    play.hs.pass_time(0.02)
    assert all(batch.handed for batch in waiting)
    later = play.begin(NOTICE)
    assert not later.waited
    play.hs.come_to_rest()

    assert 1 == len(play.queued())
    assert play.begin(NOTICE).waited


def test_no_batch_waits_longer_than_a_second() -> None:
    """However quickly each statement is answered: there may be many before it."""
    play = known(devices=700)
    names = [f"D{number}" for number in range(700)]
    *_, hog = [play.begin(NOTICE, names[begin::3]) for begin in range(3)]
    late = play.begin(NEW_KEY, ["R", "D699"], sender="@t:here")
    assert not late.waited
    for _ in range(3):
        play.hs.pass_time(0.3)
        play.hs.answer(play.step(CONFIRM))
    assert hog.handed is None
    play.hs.pass_time(0.11)

    assert hog.handed is not None
    assert 0 < len(hog.left_out) < len(names[2::3])


def test_after_a_failure_everybody_passes_for_a_second() -> None:
    """And is remembered as always."""
    play = known()
    failed = play.begin(NOTICE)
    play.hs.take_step(error=lost())
    assert failed.handed is not None
    assert not play.begin(NOTICE).waited
    play.hs.pass_time(0.95)
    assert not play.begin(NOTICE).waited
    play.hs.take_all_steps()
    play.hs.pass_time(0.06)

    assert play.begin(NOTICE).waited
    play.hs.come_to_rest()
    assert [4] == play.queued()


@pytest.mark.parametrize(("failures", "rest_s"), [(2, 2.0), (3, 4.0), (5, 10.0)])
def test_each_failure_in_a_row_doubles_the_rest(failures: int, rest_s: float) -> None:
    """Up to ten seconds."""
    play = known()
    for number in range(failures):
        play.hs.pass_time(10)
        assert play.begin(NOTICE).waited
        play.hs.answer(play.step(CONFIRM), lost())
        play.hs.take_all_steps()
        assert number < failures
    play.hs.pass_time(rest_s - 0.05)
    assert not play.begin(NOTICE).waited
    play.hs.take_all_steps()
    play.hs.pass_time(0.1)
    assert play.begin(NOTICE).waited


def test_a_success_ends_a_row_of_failures() -> None:
    """The next rest is a second again."""
    play = known()
    for fails in (True, True, False, True):
        play.hs.pass_time(10)
        play.begin(NOTICE)
        play.hs.answer(play.step(CONFIRM), lost() if fails else None)
        play.hs.take_all_steps()
    play.hs.pass_time(1.05)

    assert play.begin(NOTICE).waited


def test_while_it_rests_what_is_stored_is_settled_and_tidied() -> None:
    """A mailbox that fills meanwhile is left with one notice."""
    play = known()
    play.begin(NOTICE)
    play.hs.take_step(error=lost())
    for _ in range(20):
        assert not play.begin(NOTICE).waited
        play.hs.take_all_steps()
    play.hs.come_to_rest()

    assert [22] == play.queued()


def test_a_statement_that_hangs_lets_nobody_wait_until_it_is_back() -> None:
    """After five seconds it is cancelled."""
    play = known()
    play.begin(NOTICE)
    play.step(CONFIRM).hangs = True
    for _ in range(100):
        play.hs.pass_time(0.6)
        assert not play.begin(NOTICE).waited
        play.hs.take_all_steps()
    assert [CONFIRM] == [name for name in play.steps() if name == CONFIRM]
    assert 1 <= len(play.queued())


def test_a_doubled_batch_is_answered_for_each_of_its_rows() -> None:
    """What of it is gone is stored, the rest is not."""
    play = known(devices=3)
    play.hs.acknowledge(RECIPIENT, "D1", 1)
    batch = play.send(NOTICE, ["R", "D0", "D1", "D2"])

    assert {(RECIPIENT, device) for device in ("R", "D0", "D2")} == batch.left_out
    assert [2] == play.queued("D1")


def test_the_flood_of_one_does_not_hold_up_another() -> None:
    """Each gets an equal share of a statement."""
    play = known(devices=249)
    play.send(NOTICE, sender="@t:here")
    for _ in range(5):
        play.begin(NOTICE, ["R", *(f"D{number}" for number in range(249))])
    honest = play.begin(NOTICE, sender="@t:here")
    play.hs.take_step()
    assert honest.handed is None
    play.hs.take_step()

    assert honest.left_out


def test_a_flood_of_small_batches_does_not_hold_up_another_either() -> None:
    """Who counts, not how many batches."""
    play = known()
    play.send(NOTICE, sender="@t:here")
    flood = [play.begin(NOTICE) for _ in range(2000)]
    honest = play.begin(NOTICE, sender="@t:here")
    play.hs.take_step()
    play.hs.take_step()

    assert flood[0].left_out
    assert honest.left_out


def test_in_observe_everything_is_stored_in_the_turn_in_which_it_comes() -> None:
    """What would have become of it is asked afterwards."""
    play = Play(mode="observe")
    batches: list[Batch] = [play.begin(NOTICE) for _ in range(3)]
    play.hs.come_to_rest()
    batches += [play.begin(NOTICE), play.begin(NEW_KEY), play.begin(NOTICE, "*")]
    play.hs.come_to_rest()

    assert not any(batch.waited or batch.left_out for batch in batches)
    assert [1, 2, 3, 4, 5, 6] == play.queued()


def test_in_observe_a_statement_that_hangs_delays_nothing() -> None:
    """It is about the counters alone."""
    play = Play(mode="observe")
    play.send(NOTICE)
    play.begin(NOTICE)
    for step in play.hs.ours():
        step.hangs = True
    play.hs.pass_time(2)
    later = play.begin(NOTICE)

    assert not later.waited
    play.hs.take_all_steps()
    assert [1, 2, 3] == play.queued()


def test_in_observe_nothing_is_deleted() -> None:
    """Whatever is redundant."""
    play = Play(mode="observe")
    for content in (NOTICE, NEW_KEY, NOTICE):
        play.begin(content)
    asked = play.hs.come_to_rest()

    assert [1, 2, 3] == play.queued()
    assert not any("delete" in name for name in asked)

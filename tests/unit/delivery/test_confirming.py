"""Confirming: who is asked about when, and who is let go, in which order."""

from __future__ import annotations

from unittest.mock import Mock

import attrs
import pytest

from synapse_withheld.delivery.confirming.confirmer import MOST_WAIT_S, PATIENCE_S
from synapse_withheld.operators import series
from tests.model.homeserver import Step
from tests.model.play import CONFIRM, NOTICE
from tests.model.telling import plays
from tests.unit.delivery.played import counting, known

test_who_is_asked_about = plays()("""
    queues take turns
        add D1-D3; send notice to D1-D3; send notice to there/A
        asked: learn learn learn-abroad
        begin notice to D1; begin notice to D2; begin notice to there/A; step
        begin notice to there/A; begin notice to D3; rest
        asked: confirm confirm-abroad confirm confirm-abroad
    who was let go makes nobody wait for another statement
        add D1-D4; send notice to D1 by @a:here; send notice to D2 by @b:here
        send notice to D3 by @c:here; send notice to D4 by @d:here
        begin notice to D1 by @a:here; begin notice to D2 by @b:here
        begin notice to D3 by @c:here; begin notice to D4 by @d:here
        begin text to D3 by @c:here; answer confirm; answer confirm
        waiting:; collapsed: 5 6 8
    a statement is about so many rows, and so many notices are looked at
        limit MOST_ROWS 2; limit MOST_LOOKED_AT 3
        add D1-D3; send notice to D1-D3; begin notice to D1-D3
        begin notice to D1 times 4; begin notice to D2; answer confirm; collapsed:
        answer confirm; collapsed: 2 3; answer confirm; collapsed: 2 3 4 5 6
        answer confirm; collapsed: 2 3 4 5 6 7
    a row that was replaced is asked about again
        begin notice times 2; answer store; answer stored; begin notice
        answer store; answer stored; acknowledge 1; answer confirm; waiting: 3
        answer confirm; collapsed: 3
    and so are two
        add R2; begin notice to R,R2 times 2; answer store; answer stored
        begin notice to R,R2; sync R2; answer store; answer stored; acknowledge 1
        answer confirm; waiting: 3; answer confirm; waiting:; collapsed: 3
    one that is still there confirms the newer one, too
        begin notice times 2; answer store; answer stored; begin notice
        answer store; answer stored; answer confirm; collapsed: 3
    a device that changed is told again
        send notice; change R; send notice; collapsed:; why: device_changed first
    a batch is let go after a second, and what was answered stays so
        limit MOST_ROWS 1; add D1-D5; send notice to D1-D5; why: first*5
        begin notice to D1-D5; wait 0.4; answer confirm
        begin notice to D1-D3; wait 0.4; answer confirm
        wait 0.19; waiting: 2 3; wait 0.02; waiting: 3; answer confirm
        wait 0.38; waiting: 3; wait 0.02; waiting:; rest; collapsed: 2
        why: duplicate*2 overdue*6
    after each failure in a row there is a longer rest, up to ten seconds
        send notice; begin notice; lose confirm
        wait 0.99; begin notice; waiting:; wait 0.02; begin notice; lose confirm
        wait 1.99; begin notice; waiting:; wait 0.02; begin notice; lose confirm
        wait 3.99; begin notice; waiting:; wait 0.02; begin notice; lose confirm
        wait 7.99; begin notice; waiting:; wait 0.02; begin notice; lose confirm
        wait 9.99; begin notice; waiting:; wait 0.02; begin notice; lose confirm
        wait 9.99; begin notice; waiting:; wait 0.02; begin notice; answer confirm
        begin notice; lose confirm
        wait 0.99; begin notice; waiting:; wait 0.02; begin notice; waiting: 17
""")
test_what_is_seen_to_be_queued_is_held = plays(
    repeat="session", session_hold_ms=10_000
)("""
    from when it was asked about: it may have gone since
        send notice; wait 5; begin notice; wait 0.4; answer confirm; acknowledge 1
        wait 9.5; begin notice; answer confirm; collapsed: 2 3; wait 0.2
        begin notice; rest; queued: 2
    or from when it came
        wait 20; send notice; acknowledge 1; send notice; collapsed: 2
    unless the device may be another one
        send notice; acknowledge 1; change R; send notice; queued: 2
        why: first not_queued
""")
test_of_what_is_stored_the_first_belief_is_asked_about = plays(mode="observe")("""
    in observe, where its own row has taken the place
        send notice; begin notice; answer store; answer stored
        begin notice.new; answer store; answer stored; answer confirm
        why: duplicate first new_key
""")


def test_how_long_each_batch_waited_is_counted() -> None:
    """As one process in the background, which Synapse's own metrics tell of."""
    play = known("A")
    confirmer, waited = play.traffic.confirmer, Mock()
    as_process = Mock(wraps=confirmer.runtime.as_process)
    confirmer.runtime = attrs.evolve(confirmer.runtime, as_process=as_process)
    play.traffic.metrics.confirmed_in = waited
    play.hs.clock.advance(3)
    play.begin(NOTICE, "A")
    play.hs.clock.advance(0.25)
    play.hs.answer(play.step(CONFIRM))

    waited.assert_called_once_with(pytest.approx(0.25))
    assert "withheld_confirm" == as_process.call_args.args[0]
    stages = counting(play, series.FAILURES, "stage")
    waited.side_effect = ZeroDivisionError
    assert play.send(NOTICE, "A").left_out
    assert {"record": 1} == stages()


def test_one_that_came_long_ago_does_not_wait() -> None:
    """Nor does the next; and how long they were sorted is counted."""
    play, took_s = known("A"), list[float]()
    play.traffic.metrics.decided_in = took_s.append

    def take_long() -> int:
        play.hs.clock.advance(MOST_WAIT_S)
        return 0

    play.traffic.inbox.device_list_id = take_long
    for _ in range(2):
        notice = play.begin(NOTICE, "A")
        play.hs.clock.advance(0)
        assert notice.handed is not None
        play.hs.answer(play.step(CONFIRM))

    assert 2 * [MOST_WAIT_S] == took_s


def test_what_is_stored_while_others_are_let_go_overtakes_none_of_them() -> None:
    """One that ends at once may bring the next of the same sender with it."""
    play = known("AB")
    waiting = [play.begin(NOTICE, device) for device in "AB"]
    brought = []

    def bring_the_next(_: Step) -> None:
        play.hs.on_step = lambda _: None
        brought.append(play.begin({}, "B", message_type="m.dummy"))

    play.hs.on_step = bring_the_next
    play.hs.clock.advance(PATIENCE_S)

    assert [*waiting, *brought] == play.handed_on[1:]

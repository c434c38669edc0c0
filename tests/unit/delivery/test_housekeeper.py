"""Work in the background: one statement at a time, with rests, in nobody's way."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, Mock, call

import attrs
import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.database.cancelling import Cancellable
from synapse_withheld.delivery.housekeeping import learning
from synapse_withheld.delivery.shares import Piece, Work
from synapse_withheld.operators import series
from synapse_withheld.wiring import CANCEL_AFTER_S
from tests.model.homeserver import LostError
from tests.model.play import ABROAD, CONFIRM, NEW_KEY, NOTICE, RECIPIENT, Play
from tests.model.telling import Telling, plays
from tests.unit.delivery.played import LEARN, counting, keeper, known, store

test_rests = plays()("""
    after each statement there is a rest
        fill notice times 2; begin notice; step; step; asked: learn
        wait 0.5; answer learn; wait 1.99; asked:; wait 0.02; asked: tidy
    after a failure there is one, too
        begin notice; step; step; asked: learn; lose learn
        wait 0.99; asked:; wait 0.02; asked: learn
    nothing is asked while confirmations are late
        add R2; send notice; asked: learn; begin notice; hold confirm; wait 0.51
        begin notice.new to R2; steps; asked: confirm; wait 1; asked:
        answer confirm; wait 0.05; asked: tidy
""")

test_tidying = plays()("""
    a row that waits until readers see the newer one holds up no other
        add R2; fill notice to R2 times 2; send notice; begin text; hold store
        begin notice.new; steps; wait 1; begin notice.key.S2 to R2; steps
        wait 0.05; steps; wait 0.3; steps; wait 0.3; steps
        queued: 3 5; queued R2: 2 6; free; rest; queued: 4 5
    where the newer row is not there, the mailbox is learned again
        send notice; begin notice.new; until tidy; acknowledge 2; rest
        unknown: R; send notice; unknown:
    and what is in flight meanwhile is seen being stored
        send notice; begin notice.new; until tidy; acknowledge 2
        begin notice.key.S2; begin notice.key2.S2; rest; queued: 4
    where only the older one was acknowledged, nothing is unknown
        send notice; begin notice.new; until tidy; acknowledge 1; rest; unknown:
""")
test_a_cancellation_that_may_vanish = plays(
    rules=RulesConfig(key_requests="vanish"), sees_reads=True
)("""
    not where it came into a mailbox that was forgotten: it may have been read
        begin request; forget R; rest; send cancel; queued: 2
    nor where an EDU to all devices came once more
        send request to * by @s:there in there/1; restart
        send request to * by @s:there in there/1; send request by @s:there
        send cancel by @s:there; queued: 4
    one that is looked over is known to its end
        add D1-D4; send request to D1-D4; send cancel to D4; queued D4:
    what does not fit stays, and its request goes with a later notice
        send request; limit MOST_OF_ONE 0; send cancel; queued: 1 2
        limit MOST_OF_ONE 9; send request.2; queued: 2 3
""")

test_what_fails_is_tried_again_and_given_up_in_the_end = plays()("""
    a mailbox, which is forgotten
        begin notice; until learn; lose learn; until learn; lose learn
        until learn; remembered: 1 1; lose learn; rest; remembered: 0 0
        send notice; unknown:
    one that is looked over
        add D1-D4; begin notice to D1-D4; until look-over; lose look-over
        until look-over; lose look-over; until look-over; remembered: 4 4
        lose look-over; rest; remembered: 3 3
    but not what failed less often itself
        add R2; begin notice; until learn; lose learn; until learn; lose learn
        begin notice to R2; until learn; lose learn; rest; unknown: R
    nor what was read since, page for page
        fill text times 2000; begin notice; until learn; lose learn; until learn
        lose learn; until learn; answer learn; until learn; lose learn
        until learn; lose learn; until learn; answer learn; rest; unknown:
    a row that is redundant, and its mailbox
        send notice; begin notice.new; until tidy; lose tidy; until tidy
        lose tidy; until tidy; remembered: 1 1; lose tidy; rest; remembered: 0 0
    a user to all of whose devices something was sent
        begin notice to *; until list-devices; lose list-devices
        until list-devices; lose list-devices; until list-devices
        lose list-devices; rest; unknown: R; send notice to *; unknown:
""")

# Mailboxes.
test_learning = plays()("""
    what is doubted before it is read is known
        add D1; begin notice to D1; step; step; hold learn
        begin notice; steps; doubt R; free; rest; unknown:
    what is doubted between two pages is not, until it is learned again
        fill text times 1000; begin notice; step; step
        until learn; answer learn; until learn; doubt R; rest; unknown: R
        send notice.new; unknown:
    of a deep one so many pages are read
        limit MOST_PAGES 2; fill text times 2500; send notice; unknown:
        asked: learn learn
    nor what is doubted while it is looked over
        add D1-D4; begin notice to D1-D4; until look-over; doubt D4; rest
        unknown: D4 R
    what was forgotten meanwhile is not asked about
        add D1-D5; begin notice to D1; step; step; hold learn
        begin notice to D2; steps; begin notice to D3; steps
        forget D2; forget D3
        begin notice to D4; steps; begin notice to D5; steps; free; rest
        asked: learn look-over
    a mailbox is queued once, and what does not fit is left unlearned
        add D1-D4; begin notice to D1; step; step; hold learn
        limit MOST_OF_ONE 1; begin notice to D2; steps; begin notice.new to D2
        steps; begin notice to D3; steps; begin notice to D4 by @t:here; steps
        free; rest; unknown: D3 R; asked: learn tidy learn
    so is what turns out to have to be read, where that does not fit
        add D1-D4; fill notice.new to D4; begin notice to D1-D4; until look-over
        limit MOST_OF_ONE 0; rest; unknown: D4 R
    what is empty and does not fit is forgotten
        send notice by @s:there in there/1; limit MOST_OF_ONE 0
        send notice to R2 by @s:there in there/1; remembered: 1 1
    where all were told at once, what holds nothing else is not read
        add D1-D4; begin notice to *; rest
        asked: list-devices look-over learn
    of few rows it is known whether they were seen
        limit FEW 0; add D1-D4; begin notice to D1-D4; rest
        asked: learn look-over learn learn
""")
test_devices = plays()("""
    a user is asked about once, again after an answer, and not who is nobody
        limit MOST_USERS 1; add @q:here/A; begin notice to @q:here/A; step; step
        hold learn; asked: learn
        begin notice to *; steps; begin notice to *; steps
        begin notice to @nobody:here/*; steps; free; rest
        asked: list-devices learn tidy; send notice to *; asked: tidy list-devices
    one statement asks for so many users, and so many devices are learned
        limit MOST_USERS 1; limit MOST_DEVICES 1; add R2; add @o:here/A
        add @q:here/A; begin notice to @q:here/A; step; step; hold learn
        asked: learn
        begin notice to *; steps; begin notice to @o:here/*; steps; free; rest
        asked: list-devices learn list-devices learn; unknown: R2
    a user who does not fit is not waited for
        limit MOST_OF_ONE 0; send notice to *; limit MOST_OF_ONE 9; asked:
        send notice to *; unknown:
""")


@pytest.mark.parametrize(
    ("content", "statement"),
    [(NOTICE, CONFIRM), (NEW_KEY, "withheld_delete_superseded")],
)
def test_a_statement_that_does_not_come_back_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, content: Any, statement: str
) -> None:
    """Once, whoever asked; not when it has come back."""
    cancel = Mock()
    monkeypatch.setattr(Cancellable, "cancel", cancel)
    play = known("A")
    play.begin(content, "A")
    step = play.until(statement)
    play.hs.clock.advance(CANCEL_AFTER_S - 0.01)
    cancel.assert_not_called()
    play.hs.clock.advance(0.02)
    cancel.assert_called_once_with()
    play.hs.answer(step, LostError())
    play.hs.come_to_rest()

    cancel.assert_called_once_with()


def test_the_sweep_takes_turns() -> None:
    """While it asks, nothing else is asked; it may while there is a rest."""
    play = Play()
    turn = keeper(play).turn
    turn.acquire()
    store(play, NOTICE)
    assert [] == play.steps()
    turn.release()
    assert [LEARN] == play.steps()
    assert turn.locked
    play.hs.answer(play.step(LEARN))

    assert not turn.locked


def test_whatever_fails_is_counted_and_work_begins_anew() -> None:
    """With what is handed on next; it is the same background process to Synapse."""
    play = Play()
    house, stages = keeper(play), counting(play, series.FAILURES, "stage")
    house.gives_way = Mock(side_effect=[ZeroDivisionError, *[False] * 9])
    as_process = Mock(wraps=house.runtime.as_process)
    house.runtime = attrs.evolve(house.runtime, as_process=as_process)
    store(play, NOTICE)
    assert ({"tidy": 1}, []) == (stages(), play.steps())

    store(play, NEW_KEY)
    assert 1 == len(play.steps())
    names = [call.args[0] for call in as_process.call_args_list]
    assert 2 * ["withheld_housekeeping"] == names


def test_work_is_done_on_behalf_of_who_brought_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And in the room of that: of the server, where one could make up users."""
    whose: list[tuple[str, str]] = []
    queue = Work.queue

    def note(work: Work[Any], piece: Piece) -> bool:
        whose.append((type(piece).__name__, piece.who))
        return queue(work, piece)

    monkeypatch.setattr(Work, "queue", note)
    play = Play(devices="AB")
    count = counting(play, series.TIDIED, "queue")
    play.fill("A", [NOTICE], sender=ABROAD)
    play.send(NOTICE, "A", sender=ABROAD)
    play.send(NEW_KEY, "A", sender=ABROAD)
    play.send(NOTICE, "*", sender=ABROAD)
    # One that is opened while something for all is stored.
    play.begin(NOTICE, "*", sender=ABROAD, to_user="@q:here")
    play.memory.open(("@q:here", "Q"), 0)
    play.hs.come_to_rest()

    assert {"inbox": 3} == count()
    mailbox = play.memory.open((RECIPIENT, "A"), 0)
    assert {"there"} == {record.who for record in mailbox}
    kinds = ["_Unlearned", *["_Redundant"] * 3, "_User", *["_Unlearned"] * 2]
    assert [(kind, "there") for kind in kinds] == whose


def test_what_vanishes_is_counted_as_tidied(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(rules=RulesConfig(key_requests="vanish"), sees_reads=True)
    count = counting(play, series.TIDIED, "queue")
    Telling(play, monkeypatch).tell("send request; send cancel; queued:")
    assert {"inbox": 2} == count()


@pytest.mark.parametrize(("count", "slept"), [(1, []), (2, [call(0)] * 2)])
def test_others_have_their_turn_where_a_page_has_many_notices(
    monkeypatch: pytest.MonkeyPatch, count: int, slept: list[Any]
) -> None:
    """After they were recognised, and after they were learned."""
    monkeypatch.setattr(learning, "MOST_AT_ONCE", 1)
    play = Play()
    sleep = keeper(play).learning["inbox"].sleep = AsyncMock()
    play.fill("R", [NOTICE] * (count - 1))
    play.send(NOTICE)

    assert slept == sleep.await_args_list
